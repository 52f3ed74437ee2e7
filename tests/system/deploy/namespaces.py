"""Ten machines: network namespaces with a real sshd each, on one bridge.

What stands in for containerd and process 1 there are the programs of tests/unit/deploy/stand_in.py,
in a root folder of each machine's own; ssh, sshd, agent and tool are the real ones.
"""

from __future__ import annotations

import contextlib
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from piimage.deploy.hosts import Host
from tests.system.deploy.machines import make_key
from tests.unit.deploy.stand_in import Stand

NETWORK = "10.213.77"
BRIDGE = "pifleet"


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@dataclass(frozen=True)
class Machine:
    name: str
    address: str
    stand: Stand
    host: Host
    """With its host key pinned."""

    def allow(self, public: str) -> None:
        """Let in who has this key as well."""
        authorized = self.stand.root.parent / "authorized"
        command, _, _ = authorized.read_text().partition(" ssh-")
        with authorized.open("a") as file:
            file.write(f"{command} {public}")

    def log(self) -> str:
        """What its sshd said."""
        return (self.stand.root.parent / "log").read_text()

    def switch_off(self) -> None:
        ip("link", "set", f"{self.name}h", "down")

    def switch_on(self) -> None:
        ip("link", "set", f"{self.name}h", "up")


@contextlib.contextmanager
def fleet(folder: Path, count: int) -> Iterator[tuple[list[Machine], Path]]:
    """Give `count` machines, and a configuration of ssh that has the key for them."""
    make_key(folder / "key")
    config = folder / "ssh_config"
    config.write_text(f"Host *\n  IdentityFile {folder}/key\n  IdentitiesOnly yes\n")
    Path("/run/sshd").mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        ip("link", "add", BRIDGE, "type", "bridge")
        stack.callback(ip, "link", "del", BRIDGE)
        ip("address", "add", f"{NETWORK}.1/24", "dev", BRIDGE)
        ip("link", "set", BRIDGE, "up")
        yield [stack.enter_context(_machine(folder, number)) for number in range(count)], config


@contextlib.contextmanager
def _machine(folder: Path, number: int) -> Iterator[Machine]:
    name, address = f"pifl{number}", f"{NETWORK}.{number + 10}"
    home = folder / name
    home.mkdir()
    stand = Stand(home / "root", one="1", two="1")
    make_key(home / "host")
    public = " ".join((home / "host.pub").read_text().split()[:2])
    _write_config(folder, home, stand)
    with _namespace(name, address):
        command = ["ip", "netns", "exec", name, "/usr/sbin/sshd", "-D", "-e", "-f", home / "config"]
        with (home / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield Machine(name, address, stand, Host(name, address, "root", host_key=public))
        finally:
            process.terminate()
            process.wait(timeout=20)


def _write_config(folder: Path, home: Path, stand: Stand) -> None:
    key = (folder / "key.pub").read_text()
    agent = shlex.join(stand.command()).replace('"', '\\"')
    (home / "authorized").write_text(f'command="{agent}" {key}')
    (home / "config").write_text(
        f"HostKey {home}/host\nAuthorizedKeysFile {home}/authorized\nPidFile none\n"
        "StrictModes no\nPermitRootLogin forced-commands-only\nPasswordAuthentication no\n"
        "UsePAM no\n"
    )


@contextlib.contextmanager
def _namespace(name: str, address: str) -> Iterator[None]:
    ip("netns", "add", name)
    try:
        ip("link", "add", f"{name}h", "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("link", "set", f"{name}h", "master", BRIDGE, "up")
        ip("-n", name, "address", "add", f"{address}/24", "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")
        ip("-n", name, "link", "set", "lo", "up")
        yield
    finally:
        ip("netns", "del", name)
