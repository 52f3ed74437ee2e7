"""A local network: a namespace with a bridge, a DHCP server, and taps for emulated Pis."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

NAMESPACE = "pifirst"
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

    taps: tuple[str, ...]

    def words(self, *command: str | Path) -> list[str | Path]:
        """Return the command, run in the namespace."""
        return ["ip", "netns", "exec", NAMESPACE, *command]


@contextlib.contextmanager
def network(folder: Path, taps: Sequence[str]) -> Iterator[Network]:
    """Make the network; its DHCP server keeps its files in `folder`."""
    ip("netns", "add", NAMESPACE)
    try:
        ip("-n", NAMESPACE, "link", "set", "lo", "up")
        ip("-n", NAMESPACE, "link", "add", BRIDGE, "type", "bridge")
        ip("-n", NAMESPACE, "address", "add", f"{ADDRESS}/24", "dev", BRIDGE)
        ip("-n", NAMESPACE, "link", "set", BRIDGE, "up")
        for tap in taps:
            ip("-n", NAMESPACE, "tuntap", "add", "dev", tap, "mode", "tap")
            ip("-n", NAMESPACE, "link", "set", tap, "master", BRIDGE, "up")
        made = Network(tuple(taps))
        with _dhcp_server(made, folder):
            yield made
    finally:
        ip("netns", "del", NAMESPACE)


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
