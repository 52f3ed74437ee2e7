"""Frames to and from an agent, with timeouts; appliance/agent has the same format.

``B1 1A``, then two big-endian u32: the lengths of a JSON object and of the raw bytes that follow.
Received lengths and types are not trusted.
"""

from __future__ import annotations

import json
import os
import select
import struct
import threading
import time
from collections.abc import Mapping
from typing import Any, Final

from piimage.errors import PiimageError

_MAGIC: Final = b"\xb1\x1a"
_HEADER: Final = struct.Struct(">2sII")
MAX_JSON: Final = 1 << 20
MAX_BODY: Final = 1 << 18
_SLICE: Final = 0.25  # seconds between two checks for an interrupt by the user
_CHUNK: Final = 1 << 16


class Lost(Exception):  # not a PiimageError: reconnecting may be possible
    """The connection ended; the transport knows why."""


class Pipe:
    """A stream of frames over two descriptors.

    Raises PiimageError ``deploy.bad-answer`` for an invalid frame, ``deploy.timeout``,
    ``deploy.interrupted``, and Lost.
    """

    def __init__(self, source: int, sink: int, name: str, cancelled: threading.Event) -> None:
        self.sent = 0
        self.received = 0
        self._source = source
        self._sink = sink
        self._name = name
        self._cancelled = cancelled
        for fd in (source, sink):
            os.set_blocking(fd, False)

    def write(self, value: Mapping[str, object], body: bytes, timeout: float) -> None:
        """Write one frame within `timeout` seconds."""
        words = json.dumps(value, separators=(",", ":")).encode()
        data = memoryview(_HEADER.pack(_MAGIC, len(words), len(body)) + words + body)
        end = time.monotonic() + timeout
        try:
            while data:
                self._ready(self._sink, select.POLLOUT, end, timeout)
                count = os.write(self._sink, data[:_CHUNK])
                self.sent += count
                data = data[count:]
        except BrokenPipeError:
            raise Lost from None

    def read(self, timeout: float) -> tuple[dict[str, Any], bytes]:
        """Return the object and the bytes of the next frame; wait at most `timeout` seconds."""
        end = time.monotonic() + timeout
        magic, words, body = _HEADER.unpack(self._exactly(_HEADER.size, end, timeout))
        if magic != _MAGIC:
            raise self.bad("it does not follow piimage's protocol")
        if words > MAX_JSON or body > MAX_BODY:
            raise self.bad(f"a frame of {words} + {body} bytes is larger than allowed")
        try:
            value = json.loads(self._exactly(words, end, timeout))
        except (ValueError, RecursionError):
            raise self.bad("a frame is not JSON") from None
        if not isinstance(value, dict):
            raise self.bad("a frame is not a JSON object")
        return value, self._exactly(body, end, timeout)

    def bad(self, reason: str) -> PiimageError:
        """Return the error for a response that no agent sends."""
        return PiimageError(
            "deploy.bad-answer",
            f"the response of the agent is not valid: {reason}",
            place=self._name,
            hint="check that this is the right Pi; if it is, its card may be failing",
        )

    def _exactly(self, count: int, end: float, timeout: float) -> bytes:
        parts: list[bytes] = []
        while count:
            self._ready(self._source, select.POLLIN, end, timeout)
            data = os.read(self._source, count)
            if not data:
                raise Lost
            self.received += len(data)
            parts.append(data)
            count -= len(data)
        return b"".join(parts)

    def _ready(self, fd: int, event: int, end: float, timeout: float) -> None:
        poll = select.poll()
        poll.register(fd, event)
        while not poll.poll(_SLICE * 1000):
            if self._cancelled.is_set():
                raise PiimageError("deploy.interrupted", "interrupted", place=self._name)
            if time.monotonic() > end:
                raise PiimageError(
                    "deploy.timeout", f"no response within {timeout:g} s", place=self._name,
                    hint="check with piimage status whether the Pi is busy",
                )  # fmt: skip
        if self._cancelled.is_set():
            raise PiimageError("deploy.interrupted", "interrupted", place=self._name)
