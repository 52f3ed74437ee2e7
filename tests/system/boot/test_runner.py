"""What is killed comes back: runners with a real containerd and runc, on this machine.

The appliance's scripts and containerd's configuration are the Pi's own, with their paths led into a
folder; no emulator is needed to see what containerd, its shim and the pipes do.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.programs.appliance.scripts import APPLIANCE, Pi, environment, wait_until

NAMES = ("first", "second", "third")
PROGRAM = "echo HELLO; trap 'echo bye; exit 0' TERM; while :; do busybox sleep 0.2; done"
LISTED = ("ctr", "-n", "services.linuxkit", "tasks", "ls")


class Host:
    """A folder that stands for the Pi, with containerd and runners that this machine runs."""

    def __init__(self, root: Path) -> None:
        self.pi = Pi(root)
        self.runners: dict[str, subprocess.Popen[bytes]] = {}
        for script in ("service", "containerd.sh", "log.sh"):
            self.pi.install(script)
        self.pi.install_client(sys.executable)
        self.pi.install_library()
        for name in ("health/none", "services/none", "boot"):
            self.pi.write(f"run/piimage/{name}", "")
        self.pi.write("sys/devices/system/cpu/online", "0-1\n")
        self.pi.program("ctr", f'exec {shutil.which("ctr")} -a {self.socket} "$@"')
        config = (APPLIANCE / "rootfs/etc/containerd/config.toml").read_text()
        self.pi.write("config.toml", config.replace("/run/containerd", f"{root}/run/containerd"))
        for folder in ("proc", "dev", "bin"):
            self.pi.path(f"rootfs/{folder}").mkdir()
        busybox = shutil.which("busybox")
        assert busybox is not None
        shutil.copy(busybox, root / "rootfs/bin/busybox")
        self.containerd = self._containerd()

    @property
    def socket(self) -> Path:
        return self.pi.root / "run/containerd/containerd.sock"

    def _containerd(self) -> subprocess.Popen[bytes]:
        words = ["containerd", "-c", str(self.pi.root / "config.toml")]
        return subprocess.Popen(words, stderr=subprocess.DEVNULL, process_group=0)

    def kill_containerd(self) -> None:
        """Kill containerd and start another one, as process 1 does."""
        self.containerd.kill()
        self.containerd.wait()
        self.containerd = self._containerd()

    def add(self, name: str) -> None:
        """Write the folder of the service `name`, and start its runner."""
        self.pi.write(f"containers/services/{name}/layers", "")
        self.pi.write(f"containers/services/{name}/config.json", json.dumps(self._spec()))
        self.run(name)

    def run(self, name: str) -> None:
        """Start the runner of the service `name`."""
        words = ["busybox", "sh", self.pi.root / "usr/lib/piimage/service", name]
        self.runners[name] = subprocess.Popen(words, env=environment(), process_group=0)

    def _spec(self) -> dict[str, object]:
        mounts = [("/proc", "proc"), ("/dev", "tmpfs")]
        return {
            "ociVersion": "1.0.2",
            "process": {
                "user": {"uid": 0, "gid": 0}, "cwd": "/", "env": ["PATH=/bin"],
                "args": ["/bin/busybox", "sh", "-c", PROGRAM],
            },
            "root": {"path": str(self.pi.root / "rootfs"), "readonly": False},
            "mounts": [{"destination": at, "type": kind, "source": kind} for at, kind in mounts],
            "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}]},
            "annotations": {"io.containerd.runc.v2.group": "services"},
        }  # fmt: skip

    def tasks(self) -> dict[str, str]:
        """The tasks that containerd knows and that run, with their processes."""
        listed = subprocess.run(
            [self.pi.root / "bin/ctr", *LISTED[1:]], capture_output=True, text=True, check=False
        )
        words = [line.split() for line in listed.stdout.splitlines()]
        return {name: pid for name, pid, state in words if state == "RUNNING"}

    def shims(self) -> list[int]:
        """The processes of the shim that serve this containerd."""
        return [
            int(file.parent.name)
            for file in Path("/proc").glob("[0-9]*/cmdline")
            if f"-address\0{self.socket}\0".encode() in _read(file)
        ]

    def log(self, name: str) -> str:
        path = self.pi.root / f"var/log/services/{name}/log"
        return path.read_text() if path.exists() else ""

    def end(self) -> None:
        for runner in self.runners.values():
            runner.terminate()
        for runner in self.runners.values():
            runner.wait(60)
        self.containerd.terminate()
        self.containerd.wait(60)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:  # it has ended
        return b""


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    # The path of a socket is short: unix(7).
    with tempfile.TemporaryDirectory(prefix="runner-") as folder:
        host = Host(Path(folder))
        for name in NAMES:
            host.add(name)
        try:
            wait_until(lambda: set(host.tasks()) == set(NAMES), "the services")
            yield host
        finally:
            host.end()


def comes_again(host: Host, names: set[str], before: dict[str, str]) -> bool:
    """Whether `names` have new processes, and the other services the ones they had."""
    after = host.tasks()
    again = {name for name in after if after[name] != before[name]}
    return set(after) == set(NAMES) and again == names


def test_all_services_are_served_by_one_shim(host: Host) -> None:
    assert len(host.shims()) == 1


def test_a_containerd_that_is_killed_comes_back_with_every_service(host: Host) -> None:
    before = host.tasks()
    host.kill_containerd()
    wait_until(lambda: comes_again(host, set(), before), "the tasks that go on")


def test_nothing_that_a_service_prints_is_lost_with_the_process_that_keeps_its_log(
    host: Host,
) -> None:
    logger = host.pi.root / "run/piimage/services/third/logger"
    os.kill(int(logger.read_text()), signal.SIGKILL)
    host.runners["third"].terminate()
    assert host.runners["third"].wait(60) == 0
    assert host.log("third") == "HELLO\nbye\n"
    host.run("third")
    wait_until(lambda: set(host.tasks()) == set(NAMES), "the service")


def test_a_runner_that_is_killed_has_a_successor_that_starts_the_service_again(host: Host) -> None:
    before = host.tasks()
    os.killpg(host.runners["second"].pid, signal.SIGKILL)
    host.runners["second"].wait()
    host.run("second")
    wait_until(lambda: comes_again(host, {"second"}, before), "another task")
    wait_until(lambda: host.log("second") == "HELLO\nbye\nHELLO\n", "its output")


def test_all_services_start_again_if_their_shim_is_killed(host: Host) -> None:
    before = host.tasks()
    for shim in host.shims():
        os.kill(shim, signal.SIGKILL)
    wait_until(lambda: comes_again(host, set(NAMES), before), "other tasks")
    assert len(host.shims()) == 1
    wait_until(lambda: host.log("first") == "HELLO\nHELLO\n", "its output")


def test_a_service_that_stops_is_gone_from_containerd_and_the_others_stay(host: Host) -> None:
    before = host.tasks()
    host.runners["first"].terminate()
    assert host.runners["first"].wait(60) == 0
    assert host.tasks() == {name: before[name] for name in NAMES if name != "first"}
    assert host.log("first").endswith("bye\n")
    host.run("first")
    wait_until(lambda: comes_again(host, {"first"}, before), "another task")
