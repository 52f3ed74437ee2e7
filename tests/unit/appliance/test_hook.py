"""What runc calls before the process of a container that runs once starts."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.unit.appliance.scripts import Pi

# config.md of the OCI runtime specification, "State": what a hook reads.
STATE = {"ociVersion": "1.2.0", "id": "000-net", "status": "created", "pid": 4242,
         "bundle": "/containers/onboot/000-net"}  # fmt: skip


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ":")])
def test_the_script_is_told_the_first_process(tmp_path: Path, separators: tuple[str, str]) -> None:
    pi = Pi(tmp_path)
    pi.install("lib.sh")
    hook = pi.install("hook")
    script = pi.write("script", f"echo $PID >{tmp_path}/seen\nfalse\necho on >{tmp_path}/more\n")
    done = subprocess.run(
        ["busybox", "sh", hook, script],
        input=json.dumps(STATE, separators=separators).encode(), timeout=20, check=False,
    )  # fmt: skip
    assert (tmp_path / "seen").read_text() == "4242\n"
    assert done.returncode == 1, "a command that fails is the container's failure"
    assert not (tmp_path / "more").exists()
