"""The commands of docs/linuxkit.md as the page shows them, with a registry at another port."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.guides import read
from tests.system.conftest import ROOT
from tests.system.guides.test_pages import write_files
from tests.system.linuxkit.server import serving

PAGE = "docs/linuxkit.md"


def test_each_command_for_what_linuxkit_does_works(piimage_store: Path, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    write_files(PAGE, folder)
    program = Path(sys.executable).parent
    environment = {
        **os.environ, "PATH": f"{program}:{os.environ['PATH']}", "HOME": str(tmp_path),
        "PIIMAGE_STORE": str(piimage_store),
    }  # fmt: skip
    shown = {}
    (tmp_path / "registry").mkdir()
    with serving(tmp_path / "registry") as server:
        for line in [line.text for line in read(ROOT / PAGE) if line.reason is None]:
            typed = line.replace("localhost:5000", server.address)
            done = subprocess.run(
                ["bash", "-c", f"set -o pipefail; {typed}"], cwd=folder, env=environment,
                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900, check=False,
            )  # fmt: skip
            assert done.returncode == 0, f"{typed}\n{done.stdout}\n{done.stderr}"
            shown[line] = done.stdout + done.stderr
        index = _manifest(f"{server.address}/team/thermo:v1")
        assert [m["platform"]["architecture"] for m in index["manifests"]] == ["arm64"]
        assert _manifest(f"{server.address}/spare/thermo:v1")["config"]
    assert f"{server.address}/team/thermo:v1" in shown["piimage pkg ls"]
    assert (folder / "barn.yml").is_file()
    assert (folder / "barn.lock").is_file()
    assert (folder / "hut.yml").is_file()
    made = {path.name for path in (folder / "out").iterdir()}
    assert {
        "shed.img",
        "shed.tar",
        "shed.oci.tar",
        "barn.qcow2",
        "barn.sbom.spdx.json",
        "hut.img",
    } <= made, made


def _manifest(name: str) -> Any:
    words = shlex.split(f"skopeo inspect --raw --tls-verify=false docker://{name}")
    return json.loads(subprocess.run(words, check=True, capture_output=True).stdout)
