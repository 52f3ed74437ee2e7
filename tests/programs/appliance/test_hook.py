"""What runc calls before the process of a container that runs once starts."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.programs.appliance.scripts import Pi, environment

# Stands in for runc: its children are the container's first process and the hook, which has the
# state on its standard input.
RUNC = """
sleep 1000 &
echo $! >{root}/first
sed s/PID/$!/ {root}/state | busybox sh {hook} {script}
code=$?
kill $!
exit $code
"""


@pytest.fixture
def pi(tmp_path: Path) -> Pi:
    pi = Pi(tmp_path)
    pi.install_library()
    return pi


def run(pi: Pi, script: str, annotations: dict[str, str] | None = None) -> int:
    """Have runc's stand-in call the hook with `script`; return the hook's exit code."""
    # config.md of the OCI runtime specification, "State"; runc leaves annotations out if there are
    # none, and has them behind the pid.
    state: dict[str, Any] = {"ociVersion": "1.2.0", "id": "000-net", "status": "created"}
    state |= {"pid": 4242, "bundle": "/containers/onboot/000-net"}
    state |= {"annotations": annotations} if annotations else {}
    pi.write("state", json.dumps(state, separators=(",", ":")).replace("4242", "PID"))
    path = pi.write("script", script)
    text = RUNC.format(root=pi.root, hook=pi.install("hook"), script=path)
    words = ["busybox", "sh", "-c", text]
    return subprocess.run(words, env=environment(), timeout=20, check=False).returncode


@pytest.mark.parametrize(
    "annotations", [None, {"pid": "77"}, {'x"pid":78,"': "}"}, {"x": '"pid":79'}]
)
def test_the_script_gets_the_first_process_whatever_an_annotation_says(
    pi: Pi, annotations: dict[str, str] | None
) -> None:
    assert run(pi, f"echo $PID >{pi.root}/seen\n", annotations) == 0
    assert (pi.root / "seen").read_text() == (pi.root / "first").read_text()


def test_a_command_that_fails_is_the_containers_failure(pi: Pi) -> None:
    assert run(pi, f"false\necho on >{pi.root}/more\n") == 1
    assert not (pi.root / "more").exists()
