"""The logs of the services: their end, and what came after it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from dashboard.root import Root

_TAIL_BYTES = 16 * 1024
_MOST_BYTES = 64 * 1024
_CURSOR = re.compile(r"(\d{1,20})-(\d{1,20})")


@dataclass(frozen=True)
class Part:
    """A part of a log, and the cursor by which the next part is asked for."""

    text: str
    cursor: str


def read(root: Root, name: str, cursor: str = "") -> Part | None:
    """Return what a log has after `cursor`, or its end without one; None if it cannot be read.

    After a rotation the rest of the old file comes first. A log that is kept on the data partition
    (`log: {keep: data}`) cannot be read: only root may.
    """
    folder = root.at(f"var/log/services/{name}")
    try:
        with open(f"{folder}/log", "rb") as file:  # noqa: PTH123
            found = os.fstat(file.fileno())
            known = _CURSOR.fullmatch(cursor)
            if known is None:
                offset = max(0, found.st_size - _TAIL_BYTES)
            elif int(known[1]) != found.st_ino:
                rest = _rest(f"{folder}/log.1", int(known[1]), int(known[2]))
                return _part(rest, found.st_ino, 0)
            else:
                offset = min(int(known[2]), found.st_size)
            file.seek(offset)
            data = file.read(_MOST_BYTES)
            return _part(data, found.st_ino, offset + len(data), cut=known is None and offset > 0)
    except OSError:
        return None


def _rest(path: str, inode: int, offset: int) -> bytes:
    """Return the rest of the file that was the log before, if it still is the newest old one."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            if os.fstat(file.fileno()).st_ino != inode:
                return b""
            file.seek(offset)
            return file.read(_MOST_BYTES)
    except OSError:
        return b""


def _part(data: bytes, inode: int, offset: int, *, cut: bool = False) -> Part:
    """Return `data` as text; of one that was cut, without its first line, which is no whole one."""
    if cut:
        data = data.partition(b"\n")[2]
    return Part(data.decode("utf-8", "replace"), f"{inode}-{offset}")
