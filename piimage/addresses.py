"""The fixed addresses of a Pi: its own, that of the router, those of name servers; rules and form.

The Pi itself uses this module too, for addresses that somebody writes on a card: it needs nothing
but the standard library.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    ip_address,
    ip_interface,
)
from typing import Final

WITH_PREFIX: Final = r"[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}|[0-9a-fA-F:]+/[0-9]{1,3}"
PLAIN: Final = r"[0-9]{1,3}(\.[0-9]{1,3}){3}|[0-9a-fA-F:]+"

_THIS_NETWORK: Final = IPv4Network("0.0.0.0/8")
_Address = IPv4Address | IPv6Address
_Interface = IPv4Interface | IPv6Interface

Fault = tuple[str, str]
"""An error, and what to write instead."""


def is_address(text: str) -> bool:
    """Return whether `text` is an IP address, with or without a prefix."""
    try:
        ip_interface(text) if "/" in text else ip_address(text)
    except ValueError:
        return False
    return True


def fault(address: str, gateway: str | None, dns: Iterable[str]) -> Fault | None:
    """Return the error in the addresses of a Pi, all of which are IP addresses; None if valid."""
    own = ip_interface(address)
    found = _impossible(address, own)
    if found is None and gateway is not None:
        found = _unreachable(own, gateway)
    for server in dns:  # a name server may run on the Pi itself
        found = found or _impossible(server, own, loopback=True)
    return found


def network_file(
    interface: str,
    address: str,
    gateway: str,
    dns: Iterable[str],
    vlan: tuple[str, int] | None = None,
) -> str:
    """Return the settings of the wired network in the form of etc/piimage/network.

    The form is in appliance/README.md; no valid value holds a quote. An empty `address` stands for
    DHCP. `vlan` is the interface below a VLAN, and the VLAN's number.
    """
    parent, number = vlan or ("", "")
    values = {
        "INTERFACE": interface,
        "ADDRESS": address,
        "GATEWAY": gateway,
        "DNS": " ".join(dns),
        "PARENT": parent,
        "VLAN": str(number),
    }
    return "".join(f"{key}='{value}'\n" for key, value in values.items())


def _unreachable(own: _Interface, gateway: str) -> Fault | None:
    router = ip_address(gateway)
    if router.version != own.version:
        return "address and gateway of different IP versions", "both IPv4, or both IPv6"
    if found := _impossible(gateway, own):
        return found
    if router == own.ip:
        return f"the gateway {gateway} is the Pi's own address", "the address of the router"
    if router not in own.network and not router.is_link_local:
        return f"the gateway {gateway} is not in {own.network}", "a gateway in that network"
    return None


def _impossible(text: str, own: _Interface, *, loopback: bool = False) -> Fault | None:
    """Return the error if no host can have the address `text` in the network of `own`."""
    address = ip_interface(text).ip
    reason = _general_fault(address) or _network_fault(address, own)
    if reason is None and address.is_loopback and not loopback:
        reason = "a loopback address"
    if reason is None:
        return None
    return f"no host can have the address {text}: it is {reason}", "the address of a host"


def _general_fault(address: _Address) -> str | None:
    """Return why no host can have `address` in any network; None if a host can."""
    if address.is_unspecified or address in _THIS_NETWORK:
        return "not the address of a host (RFC 1122)"
    if address.is_multicast:
        return "a multicast address"
    if isinstance(address, IPv4Address) and address.is_reserved:
        return "a reserved address (RFC 1112)"
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return "an IPv4 address in IPv6 form"
    return None


def _network_fault(address: _Address, own: _Interface) -> str | None:
    """Return why no host can have `address` in the network of `own`; None if a host can."""
    network = own.network
    if (
        network.prefixlen >= network.max_prefixlen - 1
    ):  # RFC 3021, RFC 6164: hosts use both addresses
        return None
    if address == network.network_address:
        return f"the address of the network {network} itself"
    if isinstance(address, IPv4Address) and address == network.broadcast_address:
        return f"the broadcast address of {network}"
    return None
