"""A local network: a namespace with a bridge, a DHCP server, and taps for emulated Pis."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

BRIDGE = "lan"
ADDRESS = "10.214.7.1"
DHCP = f"""start 10.214.7.100
end 10.214.7.120
max_leases 20
interface {BRIDGE}
option subnet 255.255.255.0
option router {ADDRESS}
"""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@dataclass(frozen=True)
class Network:
    """The namespace, which is the side of the user's computer as well."""

    namespace: str
    taps: tuple[str, ...]

    def words(self, *command: str | Path) -> list[str | Path]:
        """Return the command, run in the namespace."""
        return ["ip", "netns", "exec", self.namespace, *command]


@contextlib.contextmanager
def network(folder: Path, taps: Sequence[str]) -> Iterator[Network]:
    """Make the network; its DHCP server keeps its files in `folder`."""
    name = f"pifirst{os.getpid()}"  # another run of the tests may have its own
    ip("netns", "add", name)
    try:
        ip("-n", name, "link", "set", "lo", "up")
        ip("-n", name, "link", "add", BRIDGE, "type", "bridge")
        ip("-n", name, "address", "add", f"{ADDRESS}/24", "dev", BRIDGE)
        ip("-n", name, "link", "set", BRIDGE, "up")
        for tap in taps:
            ip("-n", name, "tuntap", "add", "dev", tap, "mode", "tap")
            ip("-n", name, "link", "set", tap, "master", BRIDGE, "up")
        made = Network(name, tuple(taps))
        with _dhcp_server(made, folder):
            yield made
    finally:
        ip("netns", "del", name)


@contextlib.contextmanager
def _dhcp_server(network: Network, folder: Path) -> Iterator[None]:
    leases, settings = folder / "leases", folder / "udhcpd.conf"
    leases.touch()
    settings.write_text(f"{DHCP}lease_file {leases}\npidfile {folder}/udhcpd.pid\n")
    command = network.words("busybox", "udhcpd", "-f", settings)
    with (folder / "udhcpd.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield
        finally:
            server.terminate()
            server.wait(timeout=20)
