from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from piimage import packers


def test_a_program_is_identified_by_its_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "packer-of-a-test"
    program.write_bytes(b"#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    digest = hashlib.sha256(b"#!/bin/sh\n").hexdigest()
    assert packers.identity("packer-of-a-test") == f"sha256:{digest}"


def test_a_missing_program_is_unknown() -> None:
    assert packers.identity("no-such-program-anywhere") == "unknown"


def test_libzstd_is_identified_by_the_version_that_mksquashfs_links() -> None:
    program = shutil.which("mksquashfs")
    assert program is not None
    linked = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    (library,) = (line.split()[2] for line in linked.splitlines() if "libzstd" in line)
    version = packers.identity(packers.ZSTD)
    assert Path(library).resolve().name == f"libzstd.so.{version}"


def test_all_packers_of_this_host_are_identified() -> None:
    assert list(packers.identities()) == ["libzstd", "mksquashfs", "zstd"]
    assert "unknown" not in packers.identities().values()
