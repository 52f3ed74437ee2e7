"""Who may hold a connection to the web server, and for how long.

There is always room for one more: the oldest connection of the client that has the most makes it.
An honest request is answered in milliseconds, so who is cut off had nothing to say. The service's
own health check comes from loopback, and has room that nobody else can take.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address

FROM_OUTSIDE = 8
FROM_LOOPBACK = 4


@dataclass(frozen=True)
class _Open:
    client: str
    own: bool
    since: float


class Connections:
    """The open connections, the oldest first; used by the accepting thread and those that answer.

    None lives longer than `seconds`, counted from its acceptance by `monotonic`.
    """

    def __init__(self, seconds: float, monotonic: Callable[[], float]) -> None:
        self._seconds = seconds
        self._monotonic = monotonic
        self._open: dict[socket.socket, _Open] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """How many are open."""
        with self._lock:
            return len(self._open)

    def admit(self, connection: socket.socket, client: str) -> None:
        """Count in a connection from the address `client`; another one may have to go."""
        new = _Open(client, ip_address(client.partition("%")[0]).is_loopback, self._monotonic())
        with self._lock:
            rivals = {one: of for one, of in self._open.items() if of.own == new.own}
            if len(rivals) >= (FROM_LOOPBACK if new.own else FROM_OUTSIDE):
                self._end(_to_end(rivals))
            self._open[connection] = new

    def leave(self, connection: socket.socket) -> None:
        """Count out a connection that has ended."""
        with self._lock:
            self._open.pop(connection, None)

    def end_overdue(self) -> None:
        """End those that have had their time."""
        latest = self._monotonic() - self._seconds
        with self._lock:
            for connection in [one for one, of in self._open.items() if of.since <= latest]:
                self._end(connection)

    def _end(self, connection: socket.socket) -> None:
        """End both directions: whoever waits for this client wakes up, and closes."""
        del self._open[connection]
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


def _to_end(rivals: dict[socket.socket, _Open]) -> socket.socket:
    """Return the oldest connection of the client that has the most."""
    held = Counter(of.client for of in rivals.values())
    most = max(held.values())
    return next(one for one, of in rivals.items() if held[of.client] == most)
