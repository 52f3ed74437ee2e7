"""Faults of containers on the bridge, which concern several containers or the whole file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network, ip_interface

from piimage.config.container import ContainerConfig
from piimage.config.models import Appliance
from piimage.config.network import DEFAULT_RANGE
from piimage.config.ports import PublishedPort
from piimage.config.values import quoted
from piimage.container.bridge import is_bridged, ports_of
from piimage.container.fault import Fault
from piimage.container.merged import Placed

_SSHD = "sshd"
_SSH_PORT = "SSH_PORT="


def bridge_range(appliance: Appliance) -> IPv4Network:
    """Return the range of the bridge's addresses."""
    return IPv4Network(appliance.network.bridge if appliance.network else DEFAULT_RANGE)


def bridge_faults(
    containers: Sequence[Placed], appliance: Appliance
) -> Iterator[tuple[Placed, Fault]]:
    """Yield what is wrong with the containers on the bridge together."""
    bridged = [each for each in containers if is_bridged(each.config)]
    for each in bridged:
        if each.section != "services":
            message = f"net: {each.config.net} has no effect in {each.section}"
            yield each, Fault("oci.ports", ("net",), message, "net: host, or a service")
    yield from _shared_ports(bridged)
    yield from _ssh_ports(bridged, containers)
    ethernet = appliance.network.ethernet if appliance.network else None
    if bridged and ethernet is not None and ethernet.address is not None:
        own, network = ip_interface(ethernet.address).network, bridge_range(appliance)
        if isinstance(own, IPv4Network) and own.overlaps(network):
            yield bridged[0], Fault(
                "oci.ports", ("net",), f"the bridge's addresses {network} are in the Pi's network",
                "another range, network: { bridge: ADDRESS/PREFIX }",
            )  # fmt: skip


def _shared_ports(bridged: Sequence[Placed]) -> Iterator[tuple[Placed, Fault]]:
    seen: list[tuple[Placed, PublishedPort]] = []
    for each in bridged:
        for number, port in enumerate(ports_of(each.config)):
            other = next((owner for owner, used in seen if used.overlaps(port)), None)
            if other is not None:
                text = f"{port.protocol} port {port.outer} of the Pi is published"
                whom = "twice" if other is each else f"by {other.name} as well"
                yield (
                    each,
                    Fault(
                        "oci.ports", ("ports", number), f"{text} {whom}", "another port of the Pi"
                    ),
                )
            seen.append((each, port))


def _ssh_ports(
    bridged: Sequence[Placed], containers: Sequence[Placed]
) -> Iterator[tuple[Placed, Fault]]:
    """Yield the ports that would take the Pi's own SSH away."""
    taken = {_ssh_port(each.config): each.name for each in containers if each.use == _SSHD}
    for each in bridged:
        for number, port in enumerate(ports_of(each.config)):
            owner = taken.get(port.outer)
            if owner is None or port.protocol != "tcp" or port.local:
                continue
            message = f"port {port.outer} of the Pi is that of {quoted(owner)}"
            instead = f"another port of the Pi, such as 2222:{port.inner}"
            yield each, Fault("oci.ports", ("ports", number), message, instead)


def _ssh_port(config: ContainerConfig) -> int:
    ports = [text.partition("=")[2] for text in config.env or () if text.startswith(_SSH_PORT)]
    return int(ports[-1]) if ports and ports[-1].isdecimal() else 22
