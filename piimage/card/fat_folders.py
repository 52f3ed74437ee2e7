"""A FAT volume with a folder for each slot, whose clusters and table sectors no other file shares.

A folder can be written anew through the block device while the other one is in use: every sector
that belongs to it belongs to nothing else. Nothing but its own files is ever put there, because the
unused clusters of a folder's room are marked as bad. What else is on the volume (the boot firmware,
and files that people put there) is before the rooms of the folders.
"""

from __future__ import annotations

import array
import struct
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Final

from piimage.card import partitions
from piimage.card.extents import Extent
from piimage.card.fat import FatVolume, require_space
from piimage.card.fat_layout import BAD_CLUSTER, SECTOR, Layout
from piimage.run import Runner

_ALIGNMENT: Final = SECTOR // 4
"""The clusters of a table's sector: a folder's room begins and ends with whole sectors."""
_UNKNOWN: Final = 0xFFFF_FFFF
_INFO: Final = 48
"""The offset in the boot sector of the number of the information sector (FSInfo)."""
_COUNTS: Final = 488
"""The offset in that sector of the number of free clusters, and of the next free one."""


@dataclass(frozen=True)
class FolderedVolume:
    """A FAT32 file system of `size` bytes with `files`; see `FatVolume` for the other fields.

    Each of `folders` has `room` bytes for its files and folders; `files` have their paths from the
    root of the volume.
    """

    kind: ClassVar[int] = partitions.FAT
    name: str
    label: str
    serial: int
    size: int
    room: int
    files: Mapping[str, Path | bytes] = field(default_factory=dict)
    folders: tuple[str, ...] = ("a", "b")

    def write(self, runner: Runner, image: Path, offset: int) -> tuple[Extent, ...]:
        """Write the volume into the existing file `image` at `offset`, as `FatVolume.write`.

        Raises the same errors.
        """
        whole = FatVolume(self.name, self.label, self.serial, self.size, self.files)
        whole.require_names()
        whole.format_empty(runner, image, offset)
        layout = layout_of(image, offset)
        for folder, room in (("", self._shared(layout)), *self.rooms(layout).items()):
            files = {
                path: data for path, data in self.files.items() if self._folder(path) == folder
            }
            title = f"{self.name}, folder {folder}/" if folder else self.name
            part = replace(whole, name=title, files=files)
            require_space(part, replace(layout, clusters=len(room)))
            _admit(image, offset, layout, room, range(0))
            part.fill(runner, image, offset, [folder] if folder else [])
        rooms = self.rooms(layout).values()
        closed = range(min(room.start for room in rooms), max(room.stop for room in rooms))
        _admit(image, offset, layout, range(2, layout.clusters + 2), closed)
        with image.open("rb") as file:
            return tuple(layout.used(file, offset))

    def rooms(self, layout: Layout) -> dict[str, range]:
        """Return the clusters of each folder: the last ones of the volume."""
        count = self.room // layout.cluster // _ALIGNMENT * _ALIGNMENT
        end = (layout.clusters + 2) // _ALIGNMENT * _ALIGNMENT
        starts = [end - count * number for number in range(len(self.folders), 0, -1)]
        return {
            folder: range(start, start + count)
            for folder, start in zip(self.folders, starts, strict=True)
        }

    def _shared(self, layout: Layout) -> range:
        first = min(room.start for room in self.rooms(layout).values())
        return range(2, max(2, first))

    def _folder(self, path: str) -> str:
        """Return the folder of a slot that `path` is in; empty if it is in none."""
        first, slash, _ = path.partition("/")
        return first if slash and first in self.folders else ""


@dataclass(frozen=True)
class FolderSlot:
    """One folder of a volume, as a slot by itself: what a Pi writes of a new version."""

    volume: FolderedVolume
    folder: str

    @property
    def name(self) -> str:
        """Its name in messages."""
        return f"{self.volume.name}, folder {self.prefix}"

    @property
    def size(self) -> int:
        """The size of the whole volume in bytes."""
        return self.volume.size

    @property
    def prefix(self) -> str:
        """What the paths of its files begin with on the volume."""
        return f"{self.folder}/"

    @property
    def files(self) -> Mapping[str, Path | bytes]:
        """Its files, by their paths within the folder."""
        whole = self.volume.files.items()
        return {
            path.removeprefix(self.prefix): content
            for path, content in whole
            if path.startswith(self.prefix)
        }

    def with_files(self, files: Mapping[str, Path | bytes]) -> FolderSlot:
        """Return the slot with other `files`."""
        moved = {self.prefix + path: content for path, content in files.items()}
        return replace(self, volume=replace(self.volume, files=moved))

    def write(self, runner: Runner, image: Path, offset: int) -> tuple[Extent, ...]:
        """Write the volume with this folder; return what of it belongs to the folder alone."""
        used = self.volume.write(runner, image, offset)
        layout = layout_of(image, offset)
        room = self.volume.rooms(layout)[self.folder]
        tables = [
            Extent(start + room.start * 4, start + room.stop * 4)
            for start in (
                layout.tables_at + number * layout.table_size for number in range(layout.tables)
            )
        ]
        own = layout.extent(room)
        return (*tables, *_within(used, own))

    def head(self, layout: Layout) -> int:
        """Return the offset of its first cluster, without which the folder is empty."""
        return layout.extent(self.volume.rooms(layout)[self.folder]).start


def layout_of(image: Path, offset: int) -> Layout:
    """Return the layout of the volume that was written into `image` at `offset`."""
    with image.open("rb") as file:
        file.seek(offset)
        return Layout.read(file.read(SECTOR))


def _within(extents: tuple[Extent, ...], own: Extent) -> Iterator[Extent]:
    for extent in extents:
        start, end = max(extent.start, own.start), min(extent.end, own.end)
        if start < end:
            yield Extent(start, end)


def _admit(image: Path, offset: int, layout: Layout, opened: range, closed: range) -> None:
    """Let new files use only the clusters `opened` that are not `closed`, of those that are free.

    Nobody knows the number of free clusters afterwards: a folder that is written anew changes it.
    """
    with image.open("r+b") as file:
        file.seek(offset + layout.tables_at)
        table = array.array("I", file.read((layout.clusters + 2) * 4))
        if sys.byteorder == "big":
            table.byteswap()
        for number in range(2, layout.clusters + 2):
            if table[number] in (0, BAD_CLUSTER):
                free = number in opened and number not in closed
                table[number] = 0 if free else BAD_CLUSTER
        if sys.byteorder == "big":
            table.byteswap()
        for copy in range(layout.tables):
            file.seek(offset + layout.tables_at + copy * layout.table_size)
            file.write(table.tobytes())
        file.seek(offset + _INFO)
        (sector,) = struct.unpack("<H", file.read(2))
        file.seek(offset + sector * SECTOR + _COUNTS)
        file.write(struct.pack("<II", _UNKNOWN, _UNKNOWN))
