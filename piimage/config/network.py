"""The network of the appliance: WiFi and Ethernet."""

import re
from ipaddress import IPv4Network
from typing import Annotated, Final, Self

from pydantic import AfterValidator, Discriminator, Field, Tag, WithJsonSchema, model_validator

from piimage import addresses
from piimage.config.values import Part, form, problem, quoted
from piimage.wifi import WANTED, is_passphrase

_MOST_SSID: Final = 32  # bytes: IEEE 802.11-2020, 9.4.2.2
DEFAULT_RANGE: Final = "10.213.0.0/20"
"""The addresses of the bridge: a range that few networks use."""
_LEAST_PREFIX, _MOST_PREFIX = 16, 24
_RANGE: Final = "such as 172.28.0.0/20"


def _checked_secret(secret: str) -> str:
    if not is_passphrase(secret):
        raise problem("the passphrase is not valid", WANTED)  # the message does not show the secret
    return secret


class Wifi(Part):
    """The wireless network to join; `wifi: {}` if only `piimage flash --wifi` names it."""

    ssid: Annotated[str, Field(min_length=1, max_length=32)] | None = Field(
        default=None,
        description="Name of the network; if left out, `piimage flash --wifi` gives it.",
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
        description="Passphrase; psk_file keeps it out of this file.",
    )
    psk_file: str | None = Field(
        default=None, description="File whose first line is the passphrase."
    )
    hidden: bool = Field(default=False, description="true: the network does not announce its name.")

    @model_validator(mode="after")
    def _one_secret(self) -> Self:
        if self.psk is not None and self.psk_file is not None:
            raise problem("psk together with psk_file", "only one of the two")
        if self.ssid is None and (self.hidden or (self.psk or self.psk_file) is not None):
            raise problem("a passphrase or hidden without an ssid", "ssid: as well")
        if self.ssid is not None and len(self.ssid.encode()) > _MOST_SSID:
            raise problem(
                "an ssid of more than 32 bytes", "the name of the network, at most 32 bytes"
            )
        return self


def _check_address(text: str) -> str:
    """Return `text` if it is a valid address; the pattern alone also accepts 300.1.1.1."""
    if not addresses.is_address(text):
        raise problem(
            f"{quoted(text)} is not a valid IP address", "an address such as 192.168.1.10"
        )
    return text


def _check_vlan(name: str) -> str:
    """Refuse an invalid VLAN: IEEE 802.1Q has the numbers 1 to 4094."""
    parent, dot, number = name.rpartition(".")
    if name in ("lo", "all", "default"):  # the last two are not interfaces in /proc/sys/net
        raise problem(
            f"{quoted(name)} is not a wired network interface", "an interface such as eth0"
        )
    if not dot or (number and not number.isdigit()):
        return name
    if not number or number != str(int(number)) or not 1 <= int(number) <= 4094:
        raise problem(
            f"{quoted(name)} is not a valid VLAN interface", f"{parent}.NUMBER, 1 to 4094"
        )
    if parent.rpartition(".")[2].isdigit():
        raise problem(f"{quoted(name)} is a VLAN within a VLAN", f"{parent}")
    return name


def _check_country(code: str) -> str:
    from piimage.countries import country_codes  # noqa: PLC0415  # few files name one

    if code in country_codes():
        return code
    likely = {"UK": "GB"}.get(code.upper(), code.upper())
    instead = likely if likely in country_codes() else "two capitals (ISO 3166), such as JP"
    raise problem(f"{quoted(code)} is not a country code", instead)


Address = Annotated[
    str,
    *form(addresses.WITH_PREFIX, "IP address", "ADDRESS/PREFIX, such as 192.168.1.10/24"),
    AfterValidator(_check_address),
]
Gateway = Annotated[
    str,
    *form(addresses.PLAIN, "IP address", "an address such as 192.168.1.1"),
    AfterValidator(_check_address),
]


class Ethernet(Part):
    """The wired network; without an address, the ready-made container `dhcp` requests one."""

    interface: Annotated[
        str,
        *form(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,14}", "interface name", "a name such as eth0"),
        AfterValidator(_check_vlan),
    ] = Field(
        default="eth0",
        description="Network interface; eth0.100 creates the VLAN 100 on eth0. Without an address, "
        "only this interface uses DHCP.",
    )
    address: Address | None = Field(
        default=None,
        description="ADDRESS/PREFIX; without it, the container `dhcp` requests an address.",
    )
    gateway: Gateway | None = Field(default=None, description="Address of the router.")
    dns: tuple[Gateway, ...] = Field(default=(), description="Name servers.")

    @model_validator(mode="after")
    def _static(self) -> Self:
        if self.address is None and self.gateway is not None:
            raise problem("a gateway without an address", "address: as well, or DHCP for all of it")
        if self.address is None and self.dns:
            raise problem("dns without an address", "address: as well, or DHCP for all of it")
        if self.address is not None and (
            fault := addresses.fault(self.address, self.gateway, self.dns)
        ):
            raise problem(*fault)
        return self

    @property
    def vlan(self) -> tuple[str, int] | None:
        """The parent interface and the number of the VLAN, if the interface is a VLAN."""
        match = re.fullmatch(r"(.+)\.([0-9]+)", self.interface)
        return (match[1], int(match[2])) if match else None


def _check_range(text: str) -> str:
    """Return `text` if it is a range of private addresses for the bridge (RFC 1918)."""
    try:
        network = IPv4Network(text)
    except ValueError as error:
        raise problem(f"{quoted(text)} is not a range of addresses: {error}", _RANGE) from None
    if not (network.is_private and not network.is_loopback and not network.is_link_local):
        raise problem(f"{quoted(text)} is not a private range", _RANGE)
    if not _LEAST_PREFIX <= network.prefixlen <= _MOST_PREFIX:
        limits = f"a prefix from {_LEAST_PREFIX} to {_MOST_PREFIX}"
        raise problem(f"{quoted(text)} is too large or too small", f"{limits}, {_RANGE}")
    return text


BridgeRange = Annotated[str, AfterValidator(_check_range)]


def _form(value: object) -> str:
    return _LIST if isinstance(value, list | tuple) else _MAPPING


_MAPPING: Final = "one network"
_LIST: Final = "several networks"

# Errors name the place in the form that the file uses; a plain union reports both forms.
_Networks = Annotated[
    Annotated[Wifi, Tag(_MAPPING)] | Annotated[tuple[Wifi, ...], Field(min_length=1), Tag(_LIST)],
    Discriminator(_form),
]


class Network(Part):
    """The network of the appliance."""

    wifi: _Networks | None = Field(
        default=None,
        description="The wireless network to join, or a list of networks, the preferred first.",
    )
    country: (
        Annotated[
            str,
            AfterValidator(_check_country),
            WithJsonSchema({"type": "string", "pattern": "^[A-Z]{2}$"}),
        ]
        | None
    ) = Field(
        default=None,
        description="Country of use, such as JP (ISO 3166); WiFi stays off without it.",
    )
    ethernet: Ethernet | None = Field(default=None, description="The wired network.")
    bridge: BridgeRange = Field(
        default=DEFAULT_RANGE,
        description="Addresses of the containers with `net: bridge`, ADDRESS/PREFIX. Choose "
        "another range if your own network, or one that containers have to reach, uses this one.",
    )

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [wifi.ssid for wifi in self.networks]
        if len(names) > 1 and None in names:
            raise problem("a list of networks with one that has no ssid", "ssid: for each of them")
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise problem(f"the network {quoted(twice)} is listed twice", "each network once")
        return self

    @property
    def networks(self) -> tuple[Wifi, ...]:
        """The wireless networks, the preferred first."""
        if self.wifi is None:
            return ()
        return self.wifi if isinstance(self.wifi, tuple) else (self.wifi,)
