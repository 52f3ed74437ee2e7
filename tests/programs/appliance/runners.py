"""The service runner, for tests: a stand-in for containerd's client starts a process of ours."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.programs.appliance.scripts import Pi, end, environment

# The shim holds the pipe for the output as long as the task lives, and reads from it as well. A
# runner knows it by its name.
CLIENT = """
shift
case $1 in
run)
    output=$4 pid_file=$5
    [ ! -e "$FAIL" ] || { echo "no such thing"; exit 1; }
    exec 3>"$output" 4<"$output"
    {
        echo containerd-shim >/proc/self/comm
        sh -c "$(cat "$TASK")" >&3 2>&1 3>&- &
        echo $! >"$pid_file"
        exec 3>&-
        wait $!
    } >/dev/null 2>&1 </dev/null &
    until [ -s "$pid_file" ]; do :; done ;;
delete) cat "$CODE" ;;
esac
"""


@pytest.fixture
def pi(tmp_path: Path) -> Iterator[Pi]:
    pi = Pi(tmp_path)
    pi.install("service")
    pi.install("containerd.sh")
    pi.install("log.sh")
    pi.install_library()
    text = f"TASK={tmp_path}/task CODE={tmp_path}/code FAIL={tmp_path}/fail\n{CLIENT}"
    pi.program("micropython", text)
    pi.write("task", "exec sleep 1000")
    pi.write("code", "0")
    pi.write("run/piimage/services/none", "")
    pi.write("run/piimage/health/none", "")
    pi.write("run/piimage/boot", "")
    pi.path("run/containerd/x")
    listener = socket.socket(socket.AF_UNIX)
    with contextlib.chdir(tmp_path / "run/containerd"):
        listener.bind("containerd.sock")
    yield pi
    listener.close()


@contextlib.contextmanager
def running(pi: Pi, settings: str = "") -> Iterator[subprocess.Popen[bytes]]:
    """Run the service ``one`` until the block ends."""
    pi.write("containers/services/one/container.env", settings)
    pi.write("containers/services/one/layers", "")
    process = subprocess.Popen(
        ["busybox", "sh", pi.root / "usr/lib/piimage/service", "one"],
        env=environment(), process_group=0,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            end(process)
        with contextlib.suppress(ProcessLookupError):  # a check that hangs outlives its service
            os.killpg(process.pid, signal.SIGKILL)


def health(pi: Pi, name: str = "one") -> str:
    path = pi.root / "run/piimage/health" / name
    return path.read_text().strip() if path.exists() else ""


def state(pi: Pi) -> str:
    path = pi.root / "run/piimage/services/one/state"
    return path.read_text().strip() if path.exists() else ""


def printed(pi: Pi, text: str) -> bool:
    return any(text in line for line in pi.console())


def record_calls(pi: Pi) -> Callable[[], list[str]]:
    """Note the calls of containerd's client, by their verbs."""
    client, calls = pi.root / "bin/micropython", pi.root / "asked"
    calls.touch()
    note = f'shift\necho "$1" >>{calls}'
    client.write_text(client.read_text().replace("shift", note, 1))
    return lambda: calls.read_text().split()


def request(pi: Pi, text: str) -> None:
    """Write to the runner's pipe as the container does: without waiting for a reader."""
    pipe = os.open(pi.root / "run/piimage/services/one/events", os.O_WRONLY | os.O_NONBLOCK)
    os.write(pipe, text.encode())
    os.close(pipe)
