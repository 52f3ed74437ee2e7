"""Limits the number and the age of connections to the web server.

A new connection is always accepted. If there are too many, the oldest connection of the client that
has the most is closed. A normal request is answered in milliseconds, so only idle clients are cut
off. The service's own health check comes from loopback, which has a limit of its own.
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
    is_local: bool
    since: float


class Connections:
    """The open connections, the oldest first, for the accepting and the answering threads.

    None is open for longer than `seconds`, counted from its acceptance by `monotonic`.
    """

    def __init__(self, seconds: float, monotonic: Callable[[], float]) -> None:
        self._seconds = seconds
        self._monotonic = monotonic
        self._open: dict[socket.socket, _Open] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return the number of open connections."""
        with self._lock:
            return len(self._open)

    def admit(self, connection: socket.socket, client: str) -> None:
        """Add a connection from the address `client`; another one may be closed for it."""
        new = _Open(client, ip_address(client.partition("%")[0]).is_loopback, self._monotonic())
        with self._lock:
            rivals = {
                rival: opened
                for rival, opened in self._open.items()
                if opened.is_local == new.is_local
            }
            if len(rivals) >= (FROM_LOOPBACK if new.is_local else FROM_OUTSIDE):
                self._end(_oldest_of_busiest_client(rivals))
            self._open[connection] = new

    def leave(self, connection: socket.socket) -> None:
        """Remove a connection that has ended."""
        with self._lock:
            self._open.pop(connection, None)

    def end_overdue(self) -> None:
        """Close the connections that are older than the limit."""
        latest = self._monotonic() - self._seconds
        with self._lock:
            overdue = [key for key, opened in self._open.items() if opened.since <= latest]
            for connection in overdue:
                self._end(connection)

    def _end(self, connection: socket.socket) -> None:
        """Shut down both directions, so that the thread that waits wakes up and closes."""
        del self._open[connection]
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


def _oldest_of_busiest_client(rivals: dict[socket.socket, _Open]) -> socket.socket:
    counts = Counter(opened.client for opened in rivals.values())
    most = max(counts.values())
    return next(rival for rival, opened in rivals.items() if counts[opened.client] == most)
