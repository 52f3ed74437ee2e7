"""Requests to restart, stop and start services: lines in the pipe of this container's runner.

The runner (appliance/rootfs/usr/lib/piimage/service) reads the pipe only if the container has
`control: true`, and passes a request on to process 1. The container itself has no right to do so.
"""

from __future__ import annotations

import os

from dashboard.root import Root

OPERATIONS = ("restart", "start", "stop")
SHORTEST_TOKEN = 16
_PIPE = "run/control/events"


class Control:
    """The way to process 1 for those who know the token; closed without a token."""

    def __init__(self, root: Root, token: str) -> None:
        self._pipe = root.at(_PIPE)
        self._token = token.encode()

    @property
    def is_open(self) -> bool:
        """Whether there is a token at all."""
        return bool(self._token)

    def knows(self, authorization: str) -> bool:
        """Tell whether a header ``Authorization: Bearer TOKEN`` has the token.

        The time that it takes does not depend on how much of a wrong token is right. The module
        hmac has such a function, and brings the whole of OpenSSL into memory.
        """
        scheme, _, text = authorization.partition(" ")
        given = text.strip().encode()
        differences = len(given) ^ len(self._token)
        for number, byte in enumerate(given):
            differences |= byte ^ self._token[number % len(self._token)] if self._token else 1
        return self.is_open and scheme.lower() == "bearer" and differences == 0

    def request(self, operation: str, name: str) -> None:
        """Ask the runner; raises OSError if it does not read the pipe, or the pipe is full."""
        pipe = os.open(self._pipe, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.write(pipe, f"{operation} {name}\n".encode())
        finally:
            os.close(pipe)
