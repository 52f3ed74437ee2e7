"""Finds Pis on the local network: multicast DNS (RFC 6762) and DNS-SD (RFC 6763).

The ready-made container `mdns` answers. What comes from the network is untrusted: it selects an
address, and ssh then compares the host key.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from piimage.errors import PiimageError

if TYPE_CHECKING:
    from zeroconf import ServiceInfo, Zeroconf

SERVICE: Final = "_piimage._tcp.local."
DOMAIN: Final = ".local"
_ANSWER_MS: Final = 10_000  # of a busy Pi, or one that has just started its services
_ROUND_MS: Final = 2000  # for one question
_LINK_LOCAL: Final = "fe80:"


@dataclass(frozen=True)
class FoundPi:
    """What a Pi announces about itself; an empty text stands for what it does not announce."""

    name: str
    """Its host name, such as ``greenhouse.local``."""
    addresses: tuple[str, ...]
    """Its addresses: IPv4 first, then IPv6; link-local ones last."""
    board: str
    version: str
    """The beginning of the digest of its containers layer."""
    health: str
    """``healthy``, ``starting`` or ``unhealthy``."""
    failing: tuple[str, ...]
    """The names of the unhealthy services."""
    wanted: str = ""
    """The host name of its card (``greenhouse``), if it has another because of a conflict."""


def discover(seconds: float) -> tuple[FoundPi, ...]:
    """Return the Pis that answer within `seconds`, by name.

    Raises PiimageError ``deploy.no-multicast`` if this host has no network for multicast.
    """
    from zeroconf import Error, ServiceBrowser, ServiceInfo  # noqa: PLC0415  # slow to import

    names: set[str] = set()

    def note(name: str, **_: object) -> None:
        names.add(name)

    found = []
    with _listening() as network:
        browser = ServiceBrowser(network, SERVICE, handlers=[note])
        time.sleep(seconds)
        browser.cancel()
        for name in sorted(names):
            with contextlib.suppress(Error):
                info = ServiceInfo(SERVICE, name)
                if info.request(network, _ANSWER_MS):
                    found.append(pi_of(info))
    return tuple(sorted(found, key=lambda pi: pi.name))


def find_address(name: str) -> str | None:
    """Return the address of the host `name` (``greenhouse.local``); None if no host answers."""
    from zeroconf import Error  # noqa: PLC0415

    with contextlib.suppress(PiimageError, Error), _listening() as network:
        return _usable_address(network, f"{name.rstrip('.')}.")
    return None


def _usable_address(network: Zeroconf, name: str) -> str | None:
    """Ask until an address comes that this host can use.

    The first answer may hold nothing but a link-local address without its interface: IPv4 is then
    asked for by itself. A lost answer is asked for again.
    """
    from zeroconf import (  # type: ignore[attr-defined]  # not in its __all__  # noqa: PLC0415
        AddressResolver,
        AddressResolverIPv4,
    )

    deadline = time.monotonic() + _ANSWER_MS / 1000
    for resolver in itertools.cycle((AddressResolver, AddressResolverIPv4)):
        left = round(1000 * (deadline - time.monotonic()))
        if left <= 0:
            break
        answer = resolver(name)
        if answer.request(network, min(left, _ROUND_MS)):
            usable = next(filter(_is_complete, _addresses(answer)), None)
            if usable is not None:
                return usable
    return None


def pi_of(info: ServiceInfo) -> FoundPi:
    """Return the Pi that an answer describes."""
    texts = {
        key.decode(errors="replace"): (value or b"").decode(errors="replace")
        for key, value in info.properties.items()
    }
    return FoundPi(
        name=(info.server or info.name).rstrip("."),
        addresses=_addresses(info),
        board=texts.get("board", ""),
        version=texts.get("version", ""),
        health=texts.get("health", ""),
        failing=tuple(filter(None, texts.get("failing", "").split(","))),
        wanted=texts.get("wanted", ""),
    )


def _addresses(info: ServiceInfo) -> tuple[str, ...]:
    """Return the addresses of an answer, those that are easiest to reach first."""
    return tuple(sorted(info.parsed_scoped_addresses(), key=_is_hard_to_reach))


def _is_complete(address: str) -> bool:
    """Return whether the address can be used: a link-local one needs its interface."""
    return not address.lower().startswith(_LINK_LOCAL) or "%" in address


def _is_hard_to_reach(address: str) -> tuple[bool, bool]:
    return address.lower().startswith(_LINK_LOCAL), ":" in address


@contextlib.contextmanager
def _listening() -> Iterator[Zeroconf]:
    try:
        network = _open()
    except OSError as error:
        raise PiimageError(
            "deploy.no-multicast",
            f"this host cannot ask its network ({error.strerror or error})",
            hint="connect it to the Pi's network; multicast DNS does not pass a router or a VPN",
        ) from error
    try:
        yield network
    finally:
        network.close()


def _open() -> Zeroconf:
    """Return a client on all interfaces: over IPv6 too, unless this host has none.

    A Pi on a cable to this host alone has no IPv4 address.
    """
    from zeroconf import IPVersion, Zeroconf  # noqa: PLC0415

    try:
        return Zeroconf(ip_version=IPVersion.All)
    except OSError:
        return Zeroconf(ip_version=IPVersion.V4Only)
