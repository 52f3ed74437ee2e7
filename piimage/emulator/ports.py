"""The network of an emulated board: behind this host by NAT, or on a tap interface of this host."""

from __future__ import annotations

import contextlib
import hashlib
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from piimage.errors import InputError
from piimage.run import word

LOCAL: Final = "127.0.0.1"
SSH: Final = 22
_PI: Final = "b8:27:eb"
"""The first octets of addresses of the Raspberry Pi Foundation."""
_LAST_OCTETS: Final = "12:34:56"
_INTERFACES: Final = Path("/sys/class/net")


@dataclass(frozen=True)
class Forward:
    """Forwards TCP port `host` of this host's loopback to port `guest` of the board."""

    host: int
    guest: int


def free_port() -> int:
    """Return a port that no process listens on at the moment."""
    with contextlib.closing(socket.socket()) as probe:
        probe.bind((LOCAL, 0))
        port: int = probe.getsockname()[1]
        return port


def check_free(forwards: Sequence[Forward]) -> None:
    """Raise InputError ``emulator.port-taken`` if a port of this host is not free."""
    for forward in forwards:
        with contextlib.closing(socket.socket()) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOCAL, forward.host))
            except (OSError, OverflowError) as error:
                raise InputError(
                    "emulator.port-taken",
                    f"port {forward.host} of this host cannot be used: {error}",
                    place="--ssh-port" if forward.guest == SSH else None,
                    hint="choose another port",
                ) from None


def check_tap(name: str) -> None:
    """Raise InputError ``emulator.no-tap`` if this host has no network interface `name`."""
    if name not in (path.name for path in _INTERFACES.iterdir()):
        raise InputError(
            "emulator.no-tap",
            f"this host has no network interface {name!r}",
            place="--tap",
            hint=f"make one: sudo ip tuntap add dev {word(name)} mode tap user $USER",
        )


def netdev_option(forwards: Sequence[Forward], tap: str | None = None) -> str:
    """Return the value of QEMU's ``-netdev``, the network net0.

    It is on the interface `tap`, or else behind this host by NAT. QEMU has a comma in a value
    doubled.
    """
    if tap is not None:
        return f"tap,id=net0,ifname={tap.replace(',', ',,')},script=no,downscript=no"
    rules = (f"hostfwd=tcp:{LOCAL}:{forward.host}-:{forward.guest}" for forward in forwards)
    return ",".join(["user", "id=net0", *rules])


def device_options(tap: str | None) -> str:
    """Return the options of the network card: on a `tap`, each board has an address of its own.

    It depends on the name of the tap alone. Like a Pi's it is globally administered (802-2014,
    8.2.2): the kernel names USB adapters with another kind of address usb0 instead of eth0, and
    QEMU 10.0.13 gives them its own one (52:54:00), which is of that kind.
    """
    last = _LAST_OCTETS if tap is None else hashlib.sha256(tap.encode()).digest()[:3].hex(":")
    return f"netdev=net0,mac={_PI}:{last}"
