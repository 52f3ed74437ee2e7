"""Frames on a byte stream, each with a JSON object and raw bytes.

A frame begins with ``B1 1A`` and two big-endian u32: the lengths of the JSON and of the raw bytes.
"""

from __future__ import annotations

import json
import os
import select
import struct

MAGIC = b"\xb1\x1a"
HEADER = struct.Struct(">2sII")
MAX_JSON = 1 << 20
MAX_BODY = 1 << 18
SILENCE = 120.0
"""The timeout in seconds between two pieces of a frame."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class BadFrame(Exception):
    """The received bytes are not a frame, so that the rest of the stream is unusable."""


class Ended(Exception):
    """The other side has closed the stream."""


def read_frame(fd: int) -> tuple[dict[str, Any], bytes]:
    """Return the next frame's object and raw bytes; raises BadFrame, Ended."""
    first = _read(fd, HEADER.size)
    if not first:
        raise Ended
    magic, words, body = HEADER.unpack(first + _exactly(fd, HEADER.size - len(first)))
    if magic != MAGIC:
        raise BadFrame("this is not a frame of piimage's protocol")
    if words > MAX_JSON or body > MAX_BODY:
        raise BadFrame(f"a frame of {words} + {body} bytes is larger than allowed")
    try:
        value = json.loads(_exactly(fd, words))
    except (ValueError, RecursionError):
        raise BadFrame("a frame's header is not JSON") from None
    if not isinstance(value, dict):
        raise BadFrame("a frame's header is not a JSON object")
    return value, _exactly(fd, body)


def write_frame(fd: int, value: dict[str, Any], body: bytes = b"") -> None:
    """Write one frame; raises Ended if the other side has closed the stream."""
    words = json.dumps(value, separators=(",", ":")).encode()
    data = memoryview(HEADER.pack(MAGIC, len(words), len(body)) + words + body)
    try:
        while data:
            data = data[os.write(fd, data) :]
    except BrokenPipeError:
        raise Ended from None


def _read(fd: int, count: int) -> bytes:
    if not select.select([fd], [], [], SILENCE)[0]:
        raise BadFrame(f"nothing was received for {SILENCE:g} s in the middle of a frame")
    return os.read(fd, count)


def _exactly(fd: int, count: int) -> bytes:
    parts = []
    while count:
        data = _read(fd, count)
        if not data:
            raise BadFrame("the stream ended in the middle of a frame")
        parts.append(data)
        count -= len(data)
    return b"".join(parts)
