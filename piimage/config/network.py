"""How the appliance is reached: WiFi, Ethernet."""

import re
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    ip_address,
    ip_interface,
)
from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from piimage.config.values import Part, form, problem, quoted
from piimage.wifi import WANTED, is_passphrase

_MOST_SSID: Final = 32  # bytes: IEEE 802.11-2020, 9.4.2.2


def _checked_secret(secret: str) -> str:
    if not is_passphrase(secret):
        raise problem("the passphrase is not valid", WANTED)  # what it is, is not shown
    return secret


class Wifi(Part):
    """The wireless network to join; empty for one that only `piimage flash --wifi` names."""

    ssid: Annotated[str, Field(min_length=1, max_length=32)] | None = Field(
        default=None, description="Its name; left out, cards are told it by `piimage flash --wifi`."
    )
    psk: (
        Annotated[
            str,
            AfterValidator(_checked_secret),
            WithJsonSchema({"type": "string", "pattern": "^([ -~]{8,63}|[0-9a-fA-F]{64})$"}),
        ]
        | None
    ) = Field(
        default=None,
        exclude=True,
        repr=False,
        description="Passphrase; better keep it in a file: psk_file.",
    )
    psk_file: str | None = Field(
        default=None, description="File whose first line is the passphrase."
    )
    hidden: bool = Field(default=False, description="It does not announce its name.")

    @model_validator(mode="after")
    def _one_secret(self) -> Self:
        if self.psk is not None and self.psk_file is not None:
            raise problem("psk and psk_file", "one of the two")
        if self.ssid is None and (self.hidden or (self.psk or self.psk_file) is not None):
            raise problem("a passphrase or hidden without a network", "ssid: as well")
        if self.ssid is not None and len(self.ssid.encode()) > _MOST_SSID:
            raise problem("an ssid of more than 32 bytes", "the network's own name")
        return self


def _check_address(text: str) -> str:
    """Return `text` if it is an address; the pattern alone lets 300.1.1.1 pass."""
    try:
        ip_interface(text) if "/" in text else ip_address(text)
    except ValueError:
        raise problem(
            f"{quoted(text)} is not a valid IP address", "an address such as 192.168.1.10"
        ) from None
    return text


_THIS_NETWORK: Final = IPv4Network("0.0.0.0/8")
_Any = IPv4Address | IPv6Address
_Nets = IPv4Interface | IPv6Interface


def _is_nobodys(address: _Any) -> str | None:
    """Return what `address` is where no single machine can have it, in any network."""
    if address.is_unspecified or address in _THIS_NETWORK:
        return "no machine's address (RFC 1122)"
    if address.is_multicast:
        return "a group's (multicast)"
    if isinstance(address, IPv4Address) and address.is_reserved:
        return "reserved (RFC 1112)"
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return "an IPv4 address in disguise"
    return None


def _is_networks(address: _Any, own: _Nets) -> str | None:
    """Return what `address` is in the network of `own`, if it is no machine's there."""
    network = own.network
    if network.prefixlen >= network.max_prefixlen - 1:  # RFC 3021, RFC 6164: both are machines'
        return None
    if address == network.network_address:
        return f"that of the network {network} itself"
    if isinstance(address, IPv4Address) and address == network.broadcast_address:
        return f"for all in {network} (broadcast)"
    return None


def _check_possible(text: str, own: _Nets, *, loopback: bool = False) -> None:
    """Refuse `text` if no machine can have it, in the network of `own` or anywhere."""
    address = ip_interface(text).ip
    what = _is_nobodys(address) or _is_networks(address, own)
    if what is None and address.is_loopback and not loopback:
        what = "every machine's own (loopback)"
    if what:
        raise problem(f"nobody can have the address {text}: it is {what}", "that of a machine")


def _check_reachable(address: str, gateway: str) -> None:
    own = ip_interface(address)
    router = ip_address(gateway)
    if router.version != own.version:
        raise problem("address and gateway of two kinds", "both IPv4, or both IPv6")
    _check_possible(gateway, own)
    if router == own.ip:
        raise problem(f"the gateway {gateway} is the Pi's own address", "that of the router")
    if router not in own.network and not router.is_link_local:
        raise problem(
            f"the gateway {gateway} is not in {own.network}", "one that the address can reach"
        )


def _check_vlan(name: str) -> str:
    """Refuse a VLAN that cannot be: IEEE 802.1Q has the numbers 1 to 4094."""
    parent, dot, number = name.rpartition(".")
    if name in ("lo", "all", "default"):  # the last two stand for others below /proc/sys/net
        raise problem(f"{quoted(name)} is not a wired network interface", "such as eth0")
    if not dot or (number and not number.isdigit()):
        return name
    if not number or number != str(int(number)) or not 1 <= int(number) <= 4094:
        raise problem(
            f"{quoted(name)} is not a valid VLAN interface", f"{parent}.NUMBER, 1 to 4094"
        )
    if parent.rpartition(".")[2].isdigit():
        raise problem(f"{quoted(name)} is a VLAN within a VLAN", f"{parent}, which can be made")
    return name


def _check_country(code: str) -> str:
    from piimage.countries import country_codes  # noqa: PLC0415  # few files name one

    if code in country_codes():
        return code
    meant = {"UK": "GB"}.get(code.upper(), code.upper())
    instead = meant if meant in country_codes() else "two capitals (ISO 3166), such as JP"
    raise problem(f"{quoted(code)} is not a country code", instead)


Address = Annotated[
    str,
    *form(
        r"[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}|[0-9a-fA-F:]+/[0-9]{1,3}",
        "IP address",
        "ADDRESS/PREFIX, such as 192.168.1.10/24",
    ),
    AfterValidator(_check_address),
]
Gateway = Annotated[
    str,
    *form(
        r"[0-9]{1,3}(\.[0-9]{1,3}){3}|[0-9a-fA-F:]+", "IP address", "an address such as 192.168.1.1"
    ),
    AfterValidator(_check_address),
]


class Ethernet(Part):
    """The wired network: DHCP unless an address is given."""

    interface: Annotated[
        str,
        *form(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,14}", "interface name", "a name such as eth0"),
        AfterValidator(_check_vlan),
    ] = Field(
        default="eth0",
        description="Network interface; eth0.100 is made: the VLAN 100 on eth0. Without an address "
        "it is the only one that asks by DHCP.",
    )
    address: Address | None = Field(default=None, description="ADDRESS/PREFIX; DHCP if left out.")
    gateway: Gateway | None = Field(default=None, description="Router.")
    dns: tuple[Gateway, ...] = Field(default=(), description="Name servers.")

    @model_validator(mode="after")
    def _static(self) -> Self:
        if self.address is None and self.gateway is not None:
            raise problem("a gateway without an address", "address: as well, or DHCP for both")
        if self.address is None and self.dns:
            raise problem("dns without an address", "address: as well, or DHCP for both")
        if self.address is not None:
            self._check_addresses(self.address)
        return self

    def _check_addresses(self, address: str) -> None:
        own = ip_interface(address)
        _check_possible(address, own)
        if self.gateway is not None:
            _check_reachable(address, self.gateway)
        for server in self.dns:  # one that runs on the Pi itself may be asked
            _check_possible(server, own, loopback=True)

    @property
    def vlan(self) -> tuple[str, int] | None:
        """The interface that carries it and its number, if it is a VLAN."""
        match = re.fullmatch(r"(.+)\.([0-9]+)", self.interface)
        return (match[1], int(match[2])) if match else None


class Network(Part):
    """How the appliance reaches the network."""

    wifi: Wifi | None = Field(default=None, description="The wireless network to join.")
    country: (
        Annotated[
            str,
            AfterValidator(_check_country),
            WithJsonSchema({"type": "string", "pattern": "^[A-Z]{2}$"}),
        ]
        | None
    ) = Field(default=None, description="Where the radio is; WiFi is off without it.")
    ethernet: Ethernet | None = Field(default=None, description="The wired network.")
