"""A reader of FAT12, FAT16 and FAT32 file systems, which a boot loader can read.

Source: Microsoft FAT specification (2005), sections 3 to 7.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from mmap import mmap
from typing import Final

from piimage.errors import PiimageError

_ENTRY: Final = 32
_ATTRIBUTE_VOLUME: Final = 0x08
_ATTRIBUTE_FOLDER: Final = 0x10
_ATTRIBUTE_LONG: Final = 0x0F
_MAX_FOLDER: Final = 1 << 21
_MAX_FILE: Final = 1 << 30


@dataclass(frozen=True)
class Node:
    """A file or folder: its first cluster, and its size in bytes (0 for folders)."""

    name: str
    first: int
    size: int
    folder: bool


@dataclass(frozen=True)
class _Geometry:
    sector: int  # bytes
    cluster: int  # bytes
    fat_at: int
    fat_size: int
    root_at: int
    root_size: int
    data_at: int
    clusters: int
    bits: int
    root_cluster: int


class FatReader:
    """Reads files of the FAT file system in `data[start:start + size]`.

    Names are compared without regard to case, as for FAT. Every method raises PiimageError
    ``firmware.damaged-fat`` if the file system contradicts itself.
    """

    def __init__(self, data: bytes | mmap, start: int, size: int, origin: str) -> None:
        self._data = data
        self._start = start
        self._size = max(0, min(size, len(data) - start))
        self._origin = origin
        self._geometry = self._read_geometry()
        self._contents: dict[str, bytes | None] = {}

    @property
    def sector(self) -> int:
        """The size of a sector in bytes, by the boot sector."""
        return self._geometry.sector

    @property
    def clusters(self) -> int:
        """The number of clusters, which distinguishes FAT12, FAT16 and FAT32."""
        return self._geometry.clusters

    def exists(self, path: str) -> bool:
        """Return whether there is a file at `path`."""
        node = self._find(path)
        return node is not None and not node.folder

    def read(self, path: str) -> bytes | None:
        """Return the content of the file at `path`, or None if there is no file."""
        # Kept, because each model of a board reads the same files.
        if path not in self._contents:
            self._contents[path] = self._read(path)
        return self._contents[path]

    def _read(self, path: str) -> bytes | None:
        node = self._find(path)
        if node is None or node.folder:
            return None
        if node.size > min(_MAX_FILE, self._size):
            raise self._damaged(f"{path} is larger than the file system")
        content = bytearray()
        if node.size:
            count = -(-node.size // self._geometry.cluster)
            for first, length in _runs(itertools.islice(self._chain(node.first), count)):
                content += self._clusters(first, length)
        if len(content) < node.size:
            raise self._damaged(f"{path} ends after {len(content)} of {node.size} bytes")
        return bytes(content[: node.size])

    def pieces(self, path: str) -> tuple[tuple[int, int], ...]:
        """Return the runs of clusters of the file at `path`: offset in the file system, length.

        The last run may be longer than the file. There is none if the file is empty or missing.
        """
        node, layout = self._find(path), self._geometry
        if node is None or node.folder or not node.size:
            return ()
        return tuple(
            (layout.data_at + (first - 2) * layout.cluster, length * layout.cluster)
            for first, length in _runs(self._chain(node.first))
        )

    def names(self, path: str = "") -> tuple[str, ...]:
        """Return the names in the folder at `path` ("" is the root), in their order."""
        node = self._find(path)
        return tuple(child.name for child in self._children(node)) if node is not None else ()

    def _find(self, path: str) -> Node | None:
        node: Node | None = Node("", 0, 0, folder=True)
        for part in path.split("/"):
            if part in ("", "."):
                continue
            if node is None or not node.folder:
                return None
            name = part.casefold()
            node = next((n for n in self._children(node) if n.name.casefold() == name), None)
        return node

    def _children(self, folder: Node) -> Iterator[Node]:
        if not folder.folder:
            return
        long_name: dict[int, str] = {}
        for entry in self._entries(self._folder_bytes(folder)):
            attributes = entry[11]
            if attributes & 0x3F == _ATTRIBUTE_LONG:
                long_name[entry[0] & 0x3F] = _long_part(entry)
                continue
            if not attributes & _ATTRIBUTE_VOLUME and entry[0] != 0x2E:
                joined = "".join(long_name[number] for number in sorted(long_name))
                yield _node(entry, joined.partition("\0")[0])
            long_name = {}

    def _entries(self, content: bytes) -> Iterator[bytes]:
        for at in range(0, len(content) - _ENTRY + 1, _ENTRY):
            if content[at] == 0:
                return
            if content[at] != 0xE5:
                yield content[at : at + _ENTRY]

    def _folder_bytes(self, folder: Node) -> bytes:
        layout = self._geometry
        if folder.first == 0 and layout.bits != 32:
            return self._bytes(layout.root_at, layout.root_size)
        content = bytearray()
        for cluster in self._chain(folder.first or layout.root_cluster):
            content += self._cluster(cluster)
            if len(content) > _MAX_FOLDER:
                raise self._damaged("a folder is larger than FAT allows")
        return bytes(content)

    def _chain(self, cluster: int) -> Iterator[int]:
        for _ in range(self._geometry.clusters):
            if not 2 <= cluster < self._geometry.clusters + 2:
                raise self._damaged(f"a chain leads to cluster {cluster}, which does not exist")
            yield cluster
            cluster = self._next(cluster)
            if cluster >= (0x0FFFFFF8 & (1 << self._geometry.bits) - 1):
                return
        raise self._damaged("a chain of clusters has a loop")

    def _next(self, cluster: int) -> int:
        layout = self._geometry
        at = cluster * layout.bits // 8
        width = 4 if layout.bits == 32 else 2
        if at + width > layout.fat_size:
            raise self._damaged("its table of clusters is too short")
        at += layout.fat_at
        value = int.from_bytes(self._bytes(at, width), "little")
        if layout.bits == 12:
            return value >> 4 if cluster & 1 else value & 0xFFF
        return value & 0x0FFFFFFF

    def _cluster(self, cluster: int) -> bytes:
        return self._clusters(cluster, 1)

    def _clusters(self, first: int, count: int) -> bytes:
        at = self._geometry.data_at + (first - 2) * self._geometry.cluster
        return self._bytes(at, count * self._geometry.cluster)

    def _bytes(self, at: int, count: int) -> bytes:
        """Return up to `count` bytes at `at`, within the file system."""
        return bytes(self._data[self._start + at : self._start + min(at + count, self._size)])

    def _read_geometry(self) -> _Geometry:
        boot = self._bytes(0, 512)
        if len(boot) < 512 or boot[510:] != b"\x55\xaa":
            raise self._damaged("it has no boot sector")
        sector, per_cluster, reserved, fats, root_entries, small_count = struct.unpack_from(
            "<HBHBHH", boot, 11
        )
        (small_fat,) = struct.unpack_from("<H", boot, 22)
        large_count, large_fat, _, _, root_cluster = struct.unpack_from("<IIHHI", boot, 32)
        count, fat = small_count or large_count, small_fat or large_fat
        if sector not in (512, 1024, 2048, 4096) or per_cluster.bit_count() != 1:
            raise self._damaged("its boot sector has invalid sizes")
        if not fats or not reserved or not fat or count * sector > self._size:
            raise self._damaged("its boot sector contradicts the partition")
        fat_at, fat_size = reserved * sector, fat * sector
        root_at = fat_at + fats * fat_size
        root_size = -(-root_entries * _ENTRY // sector) * sector
        data_at = root_at + root_size
        clusters = (count * sector - data_at) // (per_cluster * sector)
        if clusters < 1:
            raise self._damaged("it has no clusters for files")
        bits = 12 if clusters < 4085 else 16 if clusters < 65525 else 32
        return _Geometry(
            sector,
            per_cluster * sector,
            fat_at,
            fat_size,
            root_at,
            root_size,
            data_at,
            clusters,
            bits,
            root_cluster,
        )

    def _damaged(self, reason: str) -> PiimageError:
        return PiimageError(
            "firmware.damaged-fat",
            f"the FAT file system cannot be read: {reason}",
            place=self._origin,
            hint="build the image again, or write the card again",
        )


def _runs(clusters: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield each run of consecutive clusters: its first cluster and its length."""
    first = length = 0
    for cluster in clusters:
        if length and cluster == first + length:
            length += 1
            continue
        if length:
            yield first, length
        first, length = cluster, 1
    if length:
        yield first, length


def _long_part(entry: bytes) -> str:
    """Return the thirteen characters of a long name in `entry`."""
    return (entry[1:11] + entry[14:26] + entry[28:32]).decode("utf-16-le", errors="replace")


def _node(entry: bytes, long_name: str) -> Node:
    high, low, size = struct.unpack("<H4xHI", entry[20:32])
    folder = bool(entry[11] & _ATTRIBUTE_FOLDER)
    name = long_name or _short_name(entry)
    return Node(name, high << 16 | low, 0 if folder else size, folder)


def _short_name(entry: bytes) -> str:
    base = entry[:8].decode("cp437").rstrip()
    extension = entry[8:11].decode("cp437").rstrip()
    # Windows and mtools mark a part of the name that is in lower case.
    base = base.lower() if entry[12] & 0x08 else base
    extension = extension.lower() if entry[12] & 0x10 else extension
    return f"{base}.{extension}" if extension else base
