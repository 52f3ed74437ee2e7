"""How the appliance is reached: WiFi, Ethernet."""

from ipaddress import ip_address, ip_interface
from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from piimage.config.values import Part, form, problem, quoted
from piimage.wifi import WANTED, is_passphrase

_MOST_SSID: Final = 32  # bytes: IEEE 802.11-2020, 9.4.2.2


def _checked_secret(secret: str) -> str:
    if not is_passphrase(secret):
        raise problem("this is no passphrase", WANTED)  # what it is, is not shown
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
        raise problem(f"{quoted(text)} is no address", "such as 192.168.1.10") from None
    return text


def _check_reachable(address: str, gateway: str | None) -> None:
    own = ip_interface(address)
    if gateway is None:
        return
    router = ip_address(gateway)
    if router.version != own.version:
        raise problem("address and gateway of two kinds", "both IPv4, or both IPv6")
    if router not in own.network and not router.is_link_local:
        raise problem(
            f"the gateway {gateway} is not in {own.network}", "one that the address can reach"
        )


Address = Annotated[
    str,
    *form(
        r"[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}|[0-9a-fA-F:]+/[0-9]{1,3}",
        "address",
        "ADDRESS/PREFIX, such as 192.168.1.10/24",
    ),
    AfterValidator(_check_address),
]
Gateway = Annotated[
    str,
    *form(r"[0-9]{1,3}(\.[0-9]{1,3}){3}|[0-9a-fA-F:]+", "address", "such as 192.168.1.1"),
    AfterValidator(_check_address),
]


class Ethernet(Part):
    """The wired network: DHCP unless an address is given."""

    interface: Annotated[
        str, *form(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,14}", "interface", "such as eth0")
    ] = Field(default="eth0", description="Network interface.")
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
            _check_reachable(self.address, self.gateway)
        return self


class Network(Part):
    """How the appliance reaches the network."""

    wifi: Wifi | None = Field(default=None, description="The wireless network to join.")
    country: (
        Annotated[str, *form("[A-Z]{2}", "country", "two capitals (ISO 3166), such as JP")] | None
    ) = Field(default=None, description="Where the radio is; WiFi is off without it.")
    ethernet: Ethernet | None = Field(default=None, description="The wired network.")
