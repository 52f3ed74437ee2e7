"""Messages between the pytest on the host and the one in the guest: JSON, one on each line."""

from __future__ import annotations

import json
import os
import selectors
import time
from typing import Any

_CHUNK = 1 << 16


class ChannelClosed(Exception):
    """The other side is gone."""


class Channel:
    """Two file descriptors that carry lines."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._buffer = bytearray()

    def send(self, message: dict[str, Any]) -> None:
        """Send one message. Raises `ChannelClosed`."""
        data = json.dumps(message, default=str).encode() + b"\n"
        try:
            while data:
                data = data[os.write(self._write_fd, data) :]
        except OSError as error:
            raise ChannelClosed from error

    def receive(self, timeout: float | None = None) -> dict[str, Any]:
        """Return the next message. Raises `ChannelClosed`, TimeoutError after `timeout` seconds."""
        end = None if timeout is None else time.monotonic() + timeout
        while b"\n" not in self._buffer:
            self._wait(end)
            try:
                chunk = os.read(self._read_fd, _CHUNK)
            except OSError as error:
                raise ChannelClosed from error
            if not chunk:
                raise ChannelClosed
            self._buffer += chunk
        line, _, rest = bytes(self._buffer).partition(b"\n")
        self._buffer = bytearray(rest)
        message: dict[str, Any] = json.loads(line)
        return message

    def _wait(self, end: float | None) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._read_fd, selectors.EVENT_READ)
            left = None if end is None else end - time.monotonic()
            if (left is not None and left <= 0) or not selector.select(left):
                raise TimeoutError
