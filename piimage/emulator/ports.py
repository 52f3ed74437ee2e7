"""Port forwarding from this host to an emulated board."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from piimage.errors import InputError

LOCAL: Final = "127.0.0.1"
SSH: Final = 22


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


def netdev_option(forwards: Sequence[Forward]) -> str:
    """Return the value of QEMU's ``-netdev``: the network net0, behind this host's by NAT."""
    rules = (f"hostfwd=tcp:{LOCAL}:{forward.host}-:{forward.guest}" for forward in forwards)
    return ",".join(["user", "id=net0", *rules])
