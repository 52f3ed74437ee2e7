"""The bridge of a Pi: addresses, names, published ports, and the rules of the packet filter.

Addresses and rules are made when the image is built: the Pi hands the rules to the kernel as they
are. docs/network.md says what the rules are to do. Sources: nft(8); Linux,
Documentation/networking/ip-sysctl.rst (route_localnet).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any, Final

from piimage.config.container import ContainerConfig
from piimage.config.fields import BRIDGED
from piimage.config.ports import PublishedPort, published_port
from piimage.errors import InputError

NAME: Final = "piimage0"
"""The bridge's interface on the Pi; also named in usr/lib/piimage/bridge."""
MODULES: Final = (
    "bridge", "veth", "nf_tables", "nft_chain_nat", "nft_ct", "nft_fib_inet", "nft_masq", "nft_nat",
)  # fmt: skip
"""The kernel's modules for the bridge and its rules."""
FOLDER: Final = "network"
"""The folder of the containers layer with what the Pi needs for the bridge."""
HOSTS: Final = "/run/piimage/network/names.hosts"
RESOLV: Final = "/run/resolv.conf"
ANY_PORT: Final = {"net.ipv4.ip_unprivileged_port_start": "0"}
"""The setting of a network by which every program may listen on ports below 1024."""
_PROGRAM: Final = "/usr/lib/piimage/bridge"
_FORWARDING: Final = frozenset({"net.ipv4.ip_forward", "net.ipv4.conf.all.forwarding"})


@dataclass(frozen=True)
class Attachment:
    """A container on the bridge."""

    name: str
    address: IPv4Address
    ports: tuple[PublishedPort, ...] = ()
    internal: bool = False

    def interface(self, network: IPv4Network) -> IPv4Interface:
        """Return the address with the prefix of the bridge's `network`."""
        return IPv4Interface(f"{self.address}/{network.prefixlen}")


def is_bridged(config: ContainerConfig) -> bool:
    """Tell whether a container with this merged configuration is on the bridge."""
    return config.net in BRIDGED


def ports_of(config: ContainerConfig) -> tuple[PublishedPort, ...]:
    """Return the ports that a container with this merged configuration publishes."""
    return tuple(map(published_port, config.ports or ()))


def attachments(
    configs: Mapping[str, ContainerConfig], network: IPv4Network
) -> Mapping[str, Attachment]:
    """Return those containers of `configs`, by name, that are on the bridge, with their addresses.

    Raises InputError ``oci.ports`` if `network` has not enough addresses.
    """
    names = [name for name, config in configs.items() if is_bridged(config)]
    found = addresses(names, network)
    return {
        name: Attachment(
            name, found[name], ports_of(configs[name]), configs[name].net == "internal"
        )
        for name in names
    }


def addresses(names: Iterable[str], network: IPv4Network) -> Mapping[str, IPv4Address]:
    """Return the address of each container.

    It depends on the name, so that another container more or less in the file changes no address,
    and a deploy restarts nothing for that. Two names that lead to the same address are rare; the
    later one in the alphabet gets the next that is free.
    """
    ordered = sorted(names)
    count = network.num_addresses - 3  # without the network's own, the Pi's, and the broadcast
    if len(ordered) > count:
        raise InputError(
            "oci.ports",
            f"the bridge has {count} addresses for {len(ordered)} containers",
            hint="give a larger range, network: { bridge: ADDRESS/PREFIX }",
        )
    found: dict[str, IPv4Address] = {}
    for name in ordered:
        number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % count
        while network[number + 2] in found.values():
            number = (number + 1) % count
        found[name] = network[number + 2]
    return found


def gateway(network: IPv4Network) -> IPv4Address:
    """Return the address of the Pi on the bridge."""
    return network[1]


def hook(interface: IPv4Interface) -> dict[str, Any]:
    """Return the hook by which the runtime connects a container's network to the bridge.

    It runs when the namespaces exist and the program has not started (OCI runtime specification,
    config.md, "createRuntime Hooks"). Interface and hardware address follow from the address, so
    that neighbours on the bridge need not forget them when the container starts again.
    """
    number = int(interface)
    words = [
        f"veth{number & 0xFFFF:04x}",
        str(interface),
        str(gateway(interface.network)),
        ":".join(f"{byte:02x}" for byte in (0x02, 0x70, *number.to_bytes(4, "big"))),
    ]
    return {"path": _PROGRAM, "args": ["bridge", "attach", *words]}


def files(
    found: Iterable[Attachment], network: IPv4Network, *, routes: bool
) -> Mapping[str, bytes]:
    """Return the files of the containers layer for the bridge, by name; none without containers.

    `routes` says that the file itself makes the Pi a router (`forwards`).
    """
    ordered = sorted(found, key=lambda attachment: attachment.name)
    if not ordered:
        return {}
    address = f"ADDRESS='{gateway(network)}/{network.prefixlen}'\n"
    return {
        "bridge": address.encode(),
        "hosts": "".join(_hosts(ordered)).encode(),
        "rules": "".join(f"{line}\n" for line in _rules(ordered, network, routes=routes)).encode(),
    }


def forwards(sysctl: Mapping[str, str]) -> bool:
    """Tell whether the file's own `sysctl:` makes the Pi a router for IPv4."""
    return any(key.replace("/", ".") in _FORWARDING and value.strip() == "1"
               for key, value in sysctl.items())  # fmt: skip


def _hosts(found: Sequence[Attachment]) -> Iterator[str]:
    yield "127.0.0.1 localhost\n::1 localhost\n"
    for attachment in found:
        yield f"{attachment.address} {attachment.name}\n"


def _rules(found: Sequence[Attachment], network: IPv4Network, *, routes: bool) -> Iterator[str]:
    """Yield the lines of a file for `nft -f`, which replaces the whole table in one step."""
    yield "table inet piimage"
    yield "delete table inet piimage"
    yield "table inet piimage {"
    yield from _chain("input", "filter", "input", 0, _to_the_pi())
    yield from _chain("forward", "filter", "forward", 0, _through(found, network, routes=routes))
    yield from _chain("prerouting", "nat", "prerouting", -100, _published(found, local=False))
    yield from _chain("output", "nat", "output", -100, _published(found, local=True))
    yield from _chain("postrouting", "nat", "postrouting", 100, _masked(network))
    yield "}"


def _chain(name: str, kind: str, hook: str, priority: int, rules: Iterable[str]) -> Iterator[str]:
    yield f"\tchain {name} {{"
    yield f"\t\ttype {kind} hook {hook} priority {priority}; policy accept;"
    for rule in rules:
        yield f"\t\t{rule}"
    yield "\t}"


def _to_the_pi() -> Iterator[str]:
    """Yield what a container may send to the Pi itself, under each of its addresses: answers."""
    yield f'iifname "{NAME}" ct state established,related accept'
    yield f'iifname "{NAME}" drop'


def _through(found: Sequence[Attachment], network: IPv4Network, *, routes: bool) -> Iterator[str]:
    """Yield what passes the Pi: out of the bridge, and to published ports."""
    yield f'iifname "{NAME}" ct state established,related accept'
    yield f'oifname "{NAME}" ct state established,related accept'
    if internal := ", ".join(str(each.address) for each in found if each.internal):
        yield f'iifname "{NAME}" oifname != "{NAME}" ip saddr {{ {internal} }} drop'
    yield f'iifname "{NAME}" ip saddr {network} accept'
    yield f'oifname "{NAME}" ct status dnat accept'
    yield f'iifname "{NAME}" drop'
    yield f'oifname "{NAME}" drop'
    if not routes:  # the bridge needs forwarding, which the kernel has for all interfaces or none
        yield "meta nfproto ipv4 drop"


def _published(found: Sequence[Attachment], *, local: bool) -> Iterator[str]:
    """Yield where connections to published ports go; those of the Pi itself if `local`.

    A port of 127.0.0.1 is not for packets that arrive: a neighbour could send them with this
    address, and the kernel would not refuse them once their destination is replaced.
    """
    for each in found:
        for port in each.ports:
            if port.local and not local:
                continue
            place = f"ip daddr {port.address}" if port.address else "fib daddr type local"
            target = f"dnat ip to {each.address}:{port.inner}"
            yield f"meta nfproto ipv4 {place} {port.protocol} dport {port.outer} {target}"


def _masked(network: IPv4Network) -> Iterator[str]:
    """Yield whose packets get the Pi's address: those that could not be answered otherwise."""
    yield f'ip saddr {network} oifname != "{NAME}" masquerade'
    yield f'ip saddr {network} oifname "{NAME}" ct status dnat masquerade'
    yield f'ip saddr 127.0.0.0/8 oifname "{NAME}" masquerade'
