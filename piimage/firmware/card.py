"""A card image as its boot loader finds it: the FAT partitions of an MBR."""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from piimage import host
from piimage.card import partitions
from piimage.errors import PiimageError
from piimage.firmware.fat import FatReader

_FAT_KINDS: Final = frozenset({0x01, 0x04, 0x06, 0x0B, 0x0C, 0x0E, 0xEF})
MANIFEST: Final = "appliance.json"


class Card:
    """A card image that is open for reading."""

    def __init__(self, data: mmap.mmap, origin: str) -> None:
        self._data = data
        self.origin = origin
        self._table = partitions.decode(data[: partitions.SECTOR], len(data), origin)
        self._open: dict[int, FatReader] = {}

    @property
    def fat_numbers(self) -> tuple[int, ...]:
        """The numbers of the partitions that a boot loader can read."""
        found = self._table.partitions
        return tuple(sorted(n for n, entry in found.items() if entry.kind in _FAT_KINDS))

    def fat(self, number: int) -> FatReader:
        """Return the file system of the FAT partition `number`, one of `fat_numbers`."""
        if number not in self._open:
            entry = self._table.partitions[number]
            place = f"{self.origin}: partition {number}"
            self._open[number] = FatReader(self._data, entry.start, entry.size, place)
        return self._open[number]


@contextlib.contextmanager
def open_card(image: Path, origin: str | None = None) -> Iterator[Card]:
    """Open the card image (or card) `image`; errors call it `origin`, else by its path.

    Raises PiimageError ``card.no-table`` when it has no partition table, ``firmware.no-image`` when
    it cannot be read.
    """
    try:
        with image.open("rb") as file:
            # A block device has no size of its own: its end says it.
            size = file.seek(0, os.SEEK_END)
            data = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        host.raise_host_error(error, origin or str(image))
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise PiimageError(
            "firmware.no-image",
            f"the image cannot be read: {why}",
            place=origin or str(image),
            hint="give the .img file that `piimage build` wrote",
        ) from None
    with data:
        yield Card(data, origin or str(image))


def find_manifest(image: Path) -> bytes | None:
    """Return the first appliance.json of the card `image`: it names the board."""
    with open_card(image) as card:
        for number in card.fat_numbers:
            for folder in ("", "a/", "b/"):
                content = card.fat(number).read(folder + MANIFEST)
                if content is not None:
                    return content
    return None
