"""The layout of a FAT volume, and the number of clusters that files and folders need.

Source: Microsoft FAT specification (fatgen103), "Boot Sector and BPB".
"""

from __future__ import annotations

import array
import struct
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from piimage.card.extents import Extent

SECTOR: Final = 512
BAD_CLUSTER: Final = 0x0FFF_FFF7
"""The entry of a FAT32's table for a cluster that nothing may use."""
_ENTRY: Final = 32  # bytes of one folder entry
_NAME_PART: Final = 13  # UTF-16 units of a long name in one entry
_MIN_CLUSTERS: Final = {16: 4085, 32: 65525}
_MAX_CLUSTERS: Final = {16: 65524, 32: 0x0FFF_FFF5}
_RESERVED: Final = 64  # sectors: a bound for what mkfs.fat leaves before the tables


def sectors_per_cluster(size: int, bits: int) -> int | None:
    """Return the cluster size for a volume of `size` bytes; None if no such FAT exists.

    It is 4 KiB, a page of the card, if the number of clusters allows that; otherwise less in a
    small volume, more in a large one.
    """
    for cluster in (8, 4, 2, 1, 16, 32, 64):
        sectors = size // SECTOR - _RESERVED
        tables = 2 * sectors // cluster * (bits // 8) // SECTOR
        clusters = (sectors - tables) // cluster
        # The margins keep the count within the limits, however mkfs.fat aligns the tables.
        if _MIN_CLUSTERS[bits] + 64 <= clusters <= _MAX_CLUSTERS[bits] - 64:
            return cluster
    return None


def entries_of(name: str) -> int:
    """Return the maximum number of folder entries for a name: its long parts and the short one."""
    units = len(name.encode("utf-16-le")) // 2
    return 1 - (-units // _NAME_PART)


def clusters_of_folder(names: Iterable[str], cluster: int) -> int:
    """Return the maximum number of clusters, of `cluster` bytes, for a folder with `names`."""
    entries = 2 + sum(entries_of(name) for name in names)
    return -(-entries * _ENTRY // cluster)


@dataclass(frozen=True)
class Layout:
    """The layout of a FAT volume: sizes and offsets in bytes, counts of tables and clusters."""

    bits: int
    cluster: int
    tables_at: int
    table_size: int
    tables: int
    root_size: int
    clusters: int

    @property
    def data_at(self) -> int:
        """The offset of the first cluster (number 2)."""
        return self.tables_at + self.tables * self.table_size + self.root_size

    @classmethod
    def read(cls, sector: bytes) -> Layout:
        """Read the boot sector that mkfs.fat wrote."""
        size, per_cluster, reserved, tables, roots, small, _, table16 = struct.unpack_from(
            "<HBHBHHBH", sector, 11
        )
        (large,) = struct.unpack_from("<I", sector, 32)
        (table32,) = struct.unpack_from("<I", sector, 36)
        table, sectors = table16 or table32, small or large
        root = -(-roots * _ENTRY // size)
        clusters = (sectors - reserved - tables * table - root) // per_cluster
        return cls(
            bits=16 if table16 else 32,
            cluster=per_cluster * size,
            tables_at=reserved * size,
            table_size=table * size,
            tables=tables,
            root_size=root * size,
            clusters=clusters,
        )

    def used(self, volume: BinaryIO, offset: int) -> Iterator[Extent]:
        """Yield the parts of the volume at `offset` that must be written to a medium.

        They are everything before the first cluster, zeros included (the medium may hold an old
        table), and each cluster that a table entry allocates, unless it is marked as bad.
        """
        yield Extent(0, self.data_at)
        volume.seek(offset + self.tables_at)
        width = self.bits // 8
        raw = volume.read(self.table_size)[: (self.clusters + 2) * width].rstrip(b"\0")
        table = array.array("H" if self.bits == 16 else "I", raw + bytes(-len(raw) % width))
        if sys.byteorder == "big":
            table.byteswap()
        first: int | None = None
        for number, value in enumerate(table[2:], start=2):
            unused = value in (0, BAD_CLUSTER)
            if first is None and not unused:
                first = number
            elif first is not None and unused:
                yield self.extent(range(first, number))
                first = None
        if first is not None:
            yield self.extent(range(first, len(table)))

    def extent(self, clusters: range) -> Extent:
        """Return where `clusters` are; the first one of a volume has the number 2."""
        start, end = (
            self.data_at + (n - 2) * self.cluster for n in (clusters.start, clusters.stop)
        )
        return Extent(start, end)
