"""Slots that are folders of the first partition, for boot loaders that choose no partition.

A file beside the folders names the one that boots, and another file the one that is tried
(`piimage_agent.choices`: config.txt and tryboot.txt on a Pi). Each is one sector, which is changed
in place through the block device, as autoboot.txt is (`piimage_agent.selector`). A folder has
clusters, and sectors of the tables, that nothing else uses (piimage/card/fat_folders.py).
Everything is read past the cache: the kernel has the partition mounted and does not notice what is
written here. Source: Microsoft FAT specification (2005), sections 3 to 7; documentation of
Raspberry Pi, "os_prefix", "tryboot".
"""

from __future__ import annotations

import struct

from piimage_agent.choices import PI, Choices
from piimage_agent.disk import read_uncached, write_sector
from piimage_agent.refusal import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = ("a/", "b/")
"""The slots, as `os_prefix` names them."""
SECTOR = 512
_PER_SECTOR = SECTOR // 4  # entries of a table
_ENTRY = 32
_FOLDER, _LABEL, _LONG_NAME = 0x10, 0x08, 0x0F
_DELETED = 0xE5
_END = 0x0FFFFFF8
_CHAIN_LIMIT = 1024  # clusters of a folder
_TEXTS = ("select.txt", "try.txt")
"""What a slot's folder has for the two files beside it."""


class Folders:
    """The two folders on the block device of the first partition, and what chooses one of them.

    Raises Refused ``no-selector`` if the partition was not made for two slots.
    """

    def __init__(self, device: str, choices: Choices = PI) -> None:
        self._device = device
        self._choices = choices
        boot = self._read(0, SECTOR)
        if len(boot) < SECTOR or boot[510:] != b"\x55\xaa":
            raise _no_selector("the first partition has no FAT file system")
        sector, per_cluster, reserved, tables = struct.unpack_from("<HBHB", boot, 11)
        (small,) = struct.unpack_from("<H", boot, 22)
        self._table_size, self._root = struct.unpack_from("<I4xI", boot, 36)
        if sector != SECTOR or not per_cluster or not tables or small or not self._table_size:
            raise _no_selector("the first partition is not a FAT32")
        self._cluster = per_cluster * SECTOR
        self._tables = [(reserved + number * self._table_size) * SECTOR for number in range(tables)]
        self._data_at = (reserved + tables * self._table_size) * SECTOR
        self._first = {name: self._folder(name) for name in NAMES}
        first, second = self._first.values()
        self._count = second - first
        if first % _PER_SECTOR or self._count % _PER_SECTOR or self._count <= 0:
            raise _no_selector("its folders share sectors with other files")

    # --- the folder of a slot

    def head(self, slot: str) -> int:
        """Return the offset of the folder's first cluster, without which it is empty."""
        return self._at(self._first[slot])

    def room(self, slot: str) -> list[tuple[int, int]]:
        """Return the parts of the device that belong to a slot alone, as start and end."""
        first = self._first[slot]
        tables = [(at + first * 4, at + (first + self._count) * 4) for at in self._tables]
        return [*tables, (self._at(first), self._at(first + self._count))]

    # --- the choice

    def active(self) -> str:
        """Return the slot that boots; empty if the file for it names none."""
        return next((name for name in NAMES if self._choice(0).startswith(self._start(name))), "")

    def set(self, active: str, other: str) -> None:
        """Have `active` boot, and `other` on a try; each takes one sector, which is read back.

        Raises Refused ``no-selector`` if a folder has no such file, ``card-lies``.
        """
        texts = [self._text(slot, number) for number, slot in enumerate((active, other))]
        # The first one decides. If it is what it was, only the try changes.
        for number, text in enumerate(texts):
            if self._choice(number) != text:
                write_sector(self._device, self._choice_at(number), text)

    def _choice(self, number: int) -> bytes:
        return self._read(self._choice_at(number), SECTOR)

    def _choice_at(self, number: int) -> int:
        path = self._choices.files[number]
        *folders, name = path.split("/")
        folder = self._root
        for part in folders:
            folder, _ = self._entry(folder, part, _FOLDER)
        cluster, size = self._entry(folder, name, 0)
        if size != SECTOR:
            raise _no_selector(f"{path} is not one sector long")
        return self._at(cluster)

    def _text(self, slot: str, number: int) -> bytes:
        """Return what the folder of a slot has for an ordinary start (0) or for a try (1)."""
        cluster, size = self._entry(self._first[slot], _TEXTS[number], 0)
        text = self._read(self._at(cluster), SECTOR)
        if size != SECTOR or not text.startswith(self._start(slot)):
            raise _no_selector(f"the version in the folder {slot} does not say how it is selected")
        return text

    def _start(self, slot: str) -> bytes:
        return self._choices.start.format(slot=slot).encode()

    # --- the file system

    def _folder(self, name: str) -> int:
        return self._entry(self._root, name[0], _FOLDER)[0]

    def _entry(self, folder: int, name: str, kind: int) -> tuple[int, int]:
        """Return the first cluster and the size of an entry of a folder."""
        for found, entry in self._entries(folder):
            if found == name.lower() and entry[11] & (_FOLDER | _LABEL) == kind:
                high, low, size = struct.unpack_from("<H4xHI", entry, 20)
                return high << 16 | low, size
        raise _no_selector(f"it has no {name}")

    def _entries(self, folder: int) -> Iterator[tuple[str, bytes]]:
        """Yield the entries of a folder with their names in lower case."""
        long = ""
        for cluster in self._chain(folder):
            content = self._read(self._at(cluster), self._cluster)
            for at in range(0, len(content), _ENTRY):
                entry = content[at : at + _ENTRY]
                if entry[:1] == b"\0":
                    return
                if entry[0] == _DELETED:
                    long = ""
                elif entry[11] == _LONG_NAME:
                    long = _part_of_name(entry) + long  # the last part comes first
                else:
                    yield (long or _short_name(entry[:11])).lower(), entry
                    long = ""

    def _chain(self, cluster: int) -> Iterator[int]:
        for _ in range(_CHAIN_LIMIT):
            if not 2 <= cluster < _END:
                return
            yield cluster
            (number,) = struct.unpack("<I", self._read(self._tables[0] + cluster * 4, 4))
            cluster = number & 0x0FFFFFFF

    def _at(self, cluster: int) -> int:
        start: int = self._data_at + (cluster - 2) * self._cluster
        return start

    def _read(self, at: int, count: int) -> bytes:
        return read_uncached(self._device, at, count)


def _short_name(name: bytes) -> str:
    text = name.decode("latin-1")
    return ".".join(part for part in (text[:8].strip(), text[8:].strip()) if part)


def _part_of_name(entry: bytes) -> str:
    """Return the 13 letters of a part of a long name, without what follows its end."""
    text = (entry[1:11] + entry[14:26] + entry[28:32]).decode("utf-16-le", "replace")
    return text.partition("\0")[0]


def _no_selector(reason: str) -> Refused:
    return Refused(
        "no-selector", f"this card cannot choose between two folders: {reason}",
        "flash the card once with this version of piimage",
    )  # fmt: skip
