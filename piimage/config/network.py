"""How the appliance is reached: WiFi, Ethernet."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from piimage.config.values import Part, form, problem


class Wifi(Part):
    """The wireless network to join."""

    ssid: Annotated[str, Field(min_length=1, max_length=32)] = Field(description="Its name.")
    psk: (
        Annotated[
            str,
            *form(
                r"[ -~]{8,63}|[0-9a-fA-F]{64}", "passphrase", "8 to 63 characters, or 64 hex digits"
            ),
        ]
        | None
    ) = Field(default=None, description="Passphrase; better keep it in a file: psk_file.")
    psk_file: str | None = Field(
        default=None, description="File whose first line is the passphrase."
    )
    hidden: bool = Field(default=False, description="It does not announce its name.")

    @model_validator(mode="after")
    def _one_secret(self) -> Self:
        if self.psk is not None and self.psk_file is not None:
            raise problem("psk and psk_file", "one of the two")
        return self


Address = Annotated[
    str,
    *form(
        r"[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}|[0-9a-fA-F:]+/[0-9]{1,3}",
        "address",
        "ADDRESS/PREFIX, such as 192.168.1.10/24",
    ),
]
Gateway = Annotated[
    str, *form(r"[0-9]{1,3}(\.[0-9]{1,3}){3}|[0-9a-fA-F:]+", "address", "such as 192.168.1.1")
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
        return self


class Network(Part):
    """How the appliance reaches the network."""

    wifi: Wifi | None = Field(default=None, description="The wireless network to join.")
    country: (
        Annotated[str, *form("[A-Z]{2}", "country", "two capitals (ISO 3166), such as JP")] | None
    ) = Field(default=None, description="Where the radio is; WiFi is off without it.")
    ethernet: Ethernet | None = Field(default=None, description="The wired network.")
