"""The command itself: "nothing changed" only where nothing did, wherever the outputs are."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.system.conftest import PIIMAGE

YAML = "board: qemu-virt\nhostname: same\nfiles: [{ path: etc/motd, source: outdoor/motd }]\n"
UNCHANGED = "nothing changed; "


def build(project: Path, out: str, store: Path, *options: str) -> str:
    done = subprocess.run(
        [PIIMAGE, "build", "pi.yml", "-o", out, *options],
        cwd=project, env={**os.environ, "PIIMAGE_STORE": str(store)}, capture_output=True,
        text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    time.sleep(0.03)
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize("out", ["out", ".", "outdoor", "../elsewhere"])
def test_each_change_is_built(out: str, tmp_path: Path, piimage_store: Path) -> None:
    project = tmp_path / "project"
    (project / "outdoor").mkdir(parents=True)
    (project / "pi.yml").write_text(YAML)
    motd = project / "outdoor" / "motd"
    motd.write_text("hello\n")

    def again(*options: str) -> bool:
        return build(project, out, piimage_store, *options).startswith(UNCHANGED)

    assert not again()
    assert again()
    motd.write_text("olleh\n")
    os.utime(motd, ns=(1, 1))
    assert not again()
    assert again()
    (project / "pi.yml").write_text(YAML + "# more\n")
    assert not again()
    assert again()
    (project / "boards").mkdir()
    (project / "boards" / "other.yml").write_text("")
    assert not again()
    assert again()
    os.utime(project / "pi.lock")
    assert not again()
    assert again()
    assert not again("--set", "hostname=other")
    assert not again("--offline")
    assert again("--offline")


def test_an_input_of_the_system_counts(tmp_path: Path, piimage_store: Path) -> None:
    (tmp_path / "pi.yml").write_text(YAML.replace("outdoor/motd", "/dev/shm/piimage-test"))
    source = Path("/dev/shm/piimage-test")
    try:
        for text in ("one\n", "two\n"):
            source.write_text(text)
            assert not build(tmp_path, "out", piimage_store).startswith(UNCHANGED)
    finally:
        source.unlink()
