"""The settings of a card, and the files from which the Pi reads them (appliance/README.md)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from piimage.addresses import network_file


@dataclass(frozen=True)
class Wired:
    """A fixed address of the wired network."""

    interface: str
    address: str
    gateway: str | None = None
    dns: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The file provision/network."""
        return network_file(self.interface, self.address, self.gateway or "", self.dns)


@dataclass
class Settings:
    """What the files say; None or an empty list leaves the card's setting as it is."""

    hostname: str | None = None
    timezone: str | None = None
    keys: list[str] = field(default_factory=list)
    """Lines of authorized_keys."""
    users: list[str] = field(default_factory=list)
    """The names of accounts whose keys these are; the Pi has root alone."""
    networks: list[str] = field(default_factory=list, repr=False)
    """Blocks of wpa_supplicant."""
    country: str | None = None
    wired: Wired | None = None
    dhcp: bool = False
    """The wired network has no fixed address on this card."""

    def files(self) -> Iterator[tuple[str, str | None, int]]:
        """Yield name, text and mode of each file to write; the text None removes the file."""
        if self.hostname is not None:
            yield "hostname", f"{self.hostname}\n", 0o644
        if self.timezone is not None:
            yield "timezone", f"{self.timezone}\n", 0o600
        if self.keys:
            yield "authorized_keys", "".join(f"{key}\n" for key in self.keys), 0o600
        if self.networks:
            yield "wifi.conf", "".join(self.networks), 0o600
        if self.country is not None:
            yield "country", f"{self.country}\n", 0o644
        if self.wired is not None:
            yield "network", self.wired.text, 0o600
        elif self.dhcp:
            yield "network", None, 0o600

    def summary(self) -> Iterator[str]:
        """Yield what the settings are, for the console, without secrets."""
        if self.hostname is not None:
            yield f"host name {self.hostname}"
        if self.keys:
            yield f"{_number(len(self.keys), 'SSH key')} for root"
        if self.timezone is not None:
            yield f"time zone {self.timezone}"
        if self.networks:
            yield _number(len(self.networks), "WiFi network")
        if self.country is not None:
            yield f"country {self.country}"
        if self.wired is not None:
            yield f"{self.wired.interface} {self.wired.address}"


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
