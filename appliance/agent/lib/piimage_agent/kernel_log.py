"""The kernel's messages of this boot: warnings and errors, and the lines that name hardware."""

from __future__ import annotations

import os

from piimage_agent.root import Root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_WARNING = 4  # syslog(2)
_LIMIT = 1 << 22  # bytes
_KEPT = 80  # lines of the beginning and of the end each, which show the first and the last trouble
_RECORD = 1 << 14
_LINE_LIMIT = 400  # characters
# WiFi firmware, VideoCore firmware, cards with their speed, devices that were never probed.
_TELLING = ("Firmware: BCM", "Attached to firmware", "Firmware hash", "deferred probe pending")
_CARDS = (": new ", " card at address")


def kernel_log(root: Root) -> dict[str, Any]:
    """Return the lines of the level warning or higher, the number left out, and `named` lines."""
    loud: list[dict[str, Any]] = []
    named = []
    for line in _lines(root):
        if line["level"] <= _WARNING:
            loud.append(line)
        if _names_hardware(line["text"]):
            named.append(line["text"])
    left_out = max(0, len(loud) - 2 * _KEPT)
    if left_out:
        loud[_KEPT:-_KEPT] = []
    return {"lines": loud, "left_out": left_out, "named": named[:64]}


def _names_hardware(text: str) -> bool:
    return any(part in text for part in _TELLING) or all(part in text for part in _CARDS)


def _lines(root: Root) -> Iterator[dict[str, Any]]:
    """Give the records of the form ``PRIORITY,NUMBER,TIME,…;TEXT`` (ABI/testing/dev-kmsg)."""
    for record in _records(root).split("\n"):
        head, semicolon, text = record.partition(";")
        fields = head.split(",")
        if semicolon and len(fields) >= 3 and fields[0].isdigit() and fields[2].isdigit():
            yield {
                "level": int(fields[0]) & 7,
                "seconds": int(fields[2]) // 1_000_000,
                "text": text[:_LINE_LIMIT],
            }


def _records(root: Root) -> str:
    """Return the content of /dev/kmsg; empty if it cannot be read."""
    try:
        fd = os.open(root.at("dev/kmsg"), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    parts = []
    size = 0
    try:
        while size < _LIMIT:
            try:
                data = os.read(fd, _RECORD)
            except BrokenPipeError:
                continue  # the record was overwritten; read the next one
            except OSError:
                break  # EAGAIN: there are no more records
            if not data:
                break
            parts.append(data)
            size += len(data)
    finally:
        os.close(fd)
    return b"".join(parts).decode(errors="replace")
