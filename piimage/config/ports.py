"""Published ports: the ports of the Pi behind which a container on the bridge answers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator

from piimage.config.values import as_text, problem, quoted

_FORM: Final = re.compile(r"(?:(.+):)?([0-9]{1,5}):([0-9]{1,5})(?:/([a-z]+))?", re.ASCII)
_EXAMPLES: Final = '"8080:80", "127.0.0.1:8080:80" or "53:53/udp"'
_MOST: Final = 65535
_NO_HOST: Final = "a published port is on an IPv4 address of the Pi, such as 127.0.0.1"


@dataclass(frozen=True)
class PublishedPort:
    """A port of the Pi, and the container's own port to which connections go."""

    address: IPv4Address | None
    """The address of the Pi; None for all."""
    outer: int
    inner: int
    protocol: str

    @property
    def local(self) -> bool:
        """Whether only the Pi itself can connect."""
        return self.address is not None and self.address.is_loopback

    def overlaps(self, other: PublishedPort) -> bool:
        """Tell whether a connection could be meant for both."""
        addresses = {self.address, other.address}
        same = (self.outer, self.protocol) == (other.outer, other.protocol)
        return same and (len(addresses) == 1 or None in addresses)


def published_port(text: str) -> PublishedPort:
    """Return the port that ``[ADDRESS:]PORT:PORT[/PROTOCOL]`` publishes.

    Source of the form: the Compose specification, "ports", without ranges and random ports. Raises
    the error of a value (`problem`).
    """
    match = _FORM.fullmatch(text)
    if match is None:
        hint = f"[ADDRESS:]PORT:CONTAINER_PORT[/udp], such as {_EXAMPLES}"
        raise problem(f"{quoted(text)} does not publish a port", hint)
    outer, inner = int(match[2]), int(match[3])
    if not (1 <= outer <= _MOST and 1 <= inner <= _MOST):
        raise problem(f"{quoted(text)} has no valid port", f"ports from 1 to {_MOST}")
    protocol = match[4] or "tcp"
    if protocol not in ("tcp", "udp"):
        raise problem(f"{quoted(text)} has an unknown protocol", "/tcp or /udp")
    return PublishedPort(_address(match[1], text), outer, inner, protocol)


def _address(text: str | None, whole: str) -> IPv4Address | None:
    if text is None:
        return None
    try:
        address = IPv4Address(text)
    except ValueError:
        raise problem(f"{quoted(whole)} has no valid address: {text}", _NO_HOST) from None
    if address.is_unspecified:
        return None
    if address.is_multicast or address == IPv4Address("255.255.255.255"):
        raise problem(f"{quoted(whole)} has no valid address: {text}", _NO_HOST)
    return address


def _checked(value: str) -> str:
    published_port(value)
    return value


Port = Annotated[str, BeforeValidator(as_text), AfterValidator(_checked)]
"""A published port as the file spells it."""
