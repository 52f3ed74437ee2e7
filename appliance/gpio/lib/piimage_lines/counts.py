"""The counts of pulses in a file that survives a power cut.

The file has two places of one block each, which are written in turn: a write that a power cut
tears spoils the older of the two counts, never both. A block that is there is written in place: a
new file and a rename would write several blocks of the file system each time.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping

BLOCK = 4096
"""Bytes of one place: a page of the card, and a block of ext4."""
_PLACES = 2
_HEAD = 8  # the checksum of the rest, in hexadecimal


class Counts:
    """The counts by the name of their line. `save` writes only what has changed."""

    def __init__(self, path: str) -> None:
        """Read the newest valid place of the file `path`; without one, there are no counts."""
        self._path = path
        self._number, self.saved = max(
            (self._place(index) for index in range(_PLACES)), key=lambda place: place[0]
        )

    def save(self, counts: Mapping[str, int]) -> None:
        """Write the counts to the disk. Raises OSError if that fails; then nothing is lost."""
        if counts == self.saved:
            return
        number = self._number + 1
        body = json.dumps({"number": number, "counts": dict(counts)}, sort_keys=True).encode()
        block = b"%0*x" % (_HEAD, zlib.crc32(body)) + body
        if len(block) > BLOCK:
            raise OSError(f"{len(counts)} counters do not fit in {BLOCK} bytes")
        os.makedirs(os.path.dirname(self._path), exist_ok=True)
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.pwrite(fd, block.ljust(BLOCK), number % _PLACES * BLOCK)
            os.fsync(fd)
        finally:
            os.close(fd)
        self._number, self.saved = number, dict(counts)

    def _place(self, index: int) -> tuple[int, dict[str, int]]:
        """Return the number of the write and the counts; -1 if this place holds none."""
        try:
            with open(self._path, "rb") as file:
                file.seek(index * BLOCK)
                block = file.read(BLOCK)
            body = block[_HEAD:].rstrip()
            if int(block[:_HEAD], 16) != zlib.crc32(body):
                return -1, {}
            place = json.loads(body)
            counts = {str(name): int(count) for name, count in place["counts"].items()}
            return int(place["number"]), counts
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return -1, {}
