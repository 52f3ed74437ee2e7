"""A card image as a boot loader sees it: the FAT partitions of its table."""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from piimage import host
from piimage.card import tables
from piimage.card.partitions import SECTOR
from piimage.errors import PiimageError
from piimage.firmware.fat import FatReader

_FAT_KINDS: Final = frozenset({0x01, 0x04, 0x06, 0x0B, 0x0C, 0x0E, 0xEF})
MANIFEST: Final = "appliance.json"


class Card:
    """A card image that is open for reading."""

    def __init__(self, data: mmap.mmap, origin: str) -> None:
        self._data = data
        self.origin = origin
        self._table = tables.decode(data[: tables.HEAD], len(data), origin)
        self._open: dict[int, FatReader] = {}

    @property
    def fat_numbers(self) -> tuple[int, ...]:
        """The numbers of the FAT partitions, which a boot loader can read."""
        entries = self._table.partitions.items()
        return tuple(sorted(number for number, entry in entries if entry.kind in _FAT_KINDS))

    def fat(self, number: int) -> FatReader:
        """Return the file system of the FAT partition `number`, one of `fat_numbers`."""
        if number not in self._open:
            entry = self._table.partitions[number]
            place = f"{self.origin}: partition {number}"
            self._open[number] = FatReader(self._data, entry.start, entry.size, place)
        return self._open[number]

    def sector(self, partition: int, number: int) -> bytes:
        """Return a sector of a partition."""
        start = self._table.partitions[partition].start + number * SECTOR
        return self._data[start : start + SECTOR]


@contextlib.contextmanager
def open_card(image: Path, origin: str | None = None) -> Iterator[Card]:
    """Open the card image (or card) `image`; `origin` is its name in errors (default: its path).

    Raises PiimageError ``card.no-table`` if it has no partition table, ``firmware.no-image`` if it
    cannot be read.
    """
    try:
        with image.open("rb") as file:
            # stat() has no size for a block device, so the end is used.
            size = file.seek(0, os.SEEK_END)
            data = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        host.raise_host_error(error, origin or str(image))
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise PiimageError(
            "firmware.no-image",
            f"the image cannot be read: {reason}",
            place=origin or str(image),
            hint="give an .img file that `piimage build` wrote",
        ) from None
    with data:
        yield Card(data, origin or str(image))


def find_manifest(image: Path) -> bytes | None:
    """Return the first appliance.json on the card `image`."""
    with open_card(image) as card:
        for number in card.fat_numbers:
            for folder in ("", "a/", "b/"):
                content = card.fat(number).read(folder + MANIFEST)
                if content is not None:
                    return content
    return None
