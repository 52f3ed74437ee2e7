"""The programs that are connected to the socket: one line of JSON is one message.

A program gets all lines when it connects, and then those that change. It may send
``{"set": {"pump": true}}``, and ``{}`` to show that it is alive.
"""

from __future__ import annotations

import json
import socket
from typing import Any

_LONGEST = 4096
"""Bytes of a message: a program that sends more without an end is disconnected."""
_WAITING = 1 << 20
"""Bytes that may wait for a program that does not read before it is disconnected."""


class Left(Exception):
    """The program closed its connection, or does not keep to the protocol."""


class Program:
    """One connection. `heard` is the time of its last message, in seconds."""

    def __init__(self, connection: socket.socket, now: float) -> None:
        connection.setblocking(False)
        self.connection = connection
        self.heard = now
        self._received = b""
        self._waiting = b""

    def fileno(self) -> int:
        """Return the descriptor of the connection."""
        return self.connection.fileno()

    def receive(self, now: float) -> list[dict[str, Any]]:
        """Return the messages that have come. Raises `Left`."""
        try:
            data = self.connection.recv(_LONGEST)
        except BlockingIOError:
            return []
        except OSError as error:
            raise Left from error
        if not data:
            raise Left
        self.heard = now
        *lines, self._received = (self._received + data).split(b"\n")
        if len(self._received) > _LONGEST:
            raise Left
        return [_message(line) for line in lines if line.strip()]

    def send(self, message: dict[str, Any]) -> None:
        """Send a message, or keep it until the program reads. Raises `Left`."""
        self._waiting += json.dumps(message, separators=(",", ":")).encode() + b"\n"
        self.flush()

    def flush(self) -> None:
        """Send what waits. Raises `Left`."""
        try:
            while self._waiting:
                self._waiting = self._waiting[self.connection.send(self._waiting) :]
        except BlockingIOError:
            if len(self._waiting) > _WAITING:
                raise Left from None
        except OSError as error:
            raise Left from error

    def close(self) -> None:
        """End the connection."""
        self.connection.close()


def _message(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except ValueError:
        raise Left from None
    if not isinstance(message, dict) or not isinstance(message.get("set", {}), dict):
        raise Left
    return message
