"""Writes files on a card's first partition as Raspberry Pi Imager does, byte by byte.

Source: what rpi-imager's ``src/devicewrapperfatpartition.cpp`` does with a FAT16 or FAT32. A new
file is in the first free clusters; its long name stands before a short one that is the long name
cut to eight and three characters, in the case in which it is written; then the folder ends.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

SECTOR = 512


def customise(image: Path, files: Mapping[str, bytes]) -> None:
    """Write new `files` into the root folder of the first partition of a card."""
    with image.open("r+b") as file:
        sector = file.read(SECTOR)
        assert sector[510:] == b"\x55\xaa"
        (start,) = struct.unpack_from("<I", sector, 446 + 8)
        volume = _Fat(file, start * SECTOR)
        for name, content in files.items():
            volume.add(name, content)


class _Fat:
    def __init__(self, file: BinaryIO, start: int) -> None:
        self.file, self.start = file, start
        sector = self.read(0, SECTOR)
        assert sector[510:] == b"\x55\xaa"
        size, per, reserved, tables, roots, small = struct.unpack_from("<HBHBHH", sector, 11)
        table16, large, table32 = (
            struct.unpack_from("<H", sector, 22)[0],
            *struct.unpack_from("<II", sector, 32),
        )
        assert size % 4 == 0
        table = table16 or table32
        root_sectors = -(-roots * 32 // size)
        clusters = ((small or large) - reserved - tables * table - root_sectors) // per
        assert clusters >= 4085, "Imager refuses a FAT12"
        self.width = 2 if clusters < 65525 else 4
        self.cluster = per * size
        self.tables = [(reserved + number * table) * size for number in range(tables)]
        self.table_size = table * size
        self.data = (reserved + tables * table + root_sectors) * size
        if self.width == 2:
            self.root, self.root_size = self.data - root_sectors * size, root_sectors * size
        else:
            self.root = self.at(struct.unpack_from("<I", sector, 44)[0])
            self.root_size = self.cluster

    def read(self, offset: int, size: int) -> bytes:
        self.file.seek(self.start + offset)
        data = self.file.read(size)
        assert len(data) == size
        return data

    def write(self, offset: int, data: bytes) -> None:
        self.file.seek(self.start + offset)
        self.file.write(data)

    def at(self, cluster: int) -> int:
        offset: int = self.data + (cluster - 2) * self.cluster
        return offset

    def allocate(self) -> int:
        form = "H" if self.width == 2 else "I"
        entries = struct.unpack(
            f"<{self.table_size // self.width}{form}", self.read(self.tables[0], self.table_size)
        )
        cluster: int = next(n for n, entry in enumerate(entries) if entry & 0x0FFFFFFF == 0)
        self.link(cluster, 0xFFFF if self.width == 2 else 0x0FFFFFFF)
        return cluster

    def link(self, cluster: int, value: int) -> None:
        for table in self.tables:
            self.write(table + cluster * self.width, value.to_bytes(self.width, "little"))

    def add(self, name: str, content: bytes) -> None:
        end = self._end()
        clusters = [self.allocate() for _ in range(-(-len(content) // self.cluster))]
        for cluster, following in pairwise(clusters):
            self.link(cluster, following)
        for number, cluster in enumerate(clusters):
            piece = content[number * self.cluster : (number + 1) * self.cluster]
            self.write(self.at(cluster), piece.ljust(self.cluster, b"\0"))
        entries = _entries(name, clusters[0], len(content)) + bytes(32)
        assert end + len(entries) <= self.root + self.root_size
        self.write(end, entries)

    def _end(self) -> int:
        """The offset of the entry that ends the root folder."""
        root = self.read(self.root, self.root_size)
        found: int = next(self.root + at for at in range(0, len(root), 32) if root[at] == 0)
        return found


def _entries(name: str, cluster: int, size: int) -> bytes:
    if name.count(".") == 1:
        base, extension = name.upper().split(".")
        short = (base[:8].ljust(8) + extension[:3].ljust(3)).encode()
    else:
        short = name[:11].ljust(11).encode()
    checksum = 0
    for byte in short:
        checksum = (((checksum & 1) << 7) + (checksum >> 1) + byte) & 0xFF
    units = (name + "\0").encode("utf-16-le")
    count = -(-len(units) // 26)
    found = b""
    for number in range(count, 0, -1):
        part = units[(number - 1) * 26 : number * 26].ljust(26, b"\xff")
        order = number | (0x40 if number == count else 0)
        found += struct.pack(
            "<B10sBBB12sH4s", order, part[:10], 0x0F, 0, checksum, part[10:22], 0, part[22:]
        )
    time, date = (12 << 11), ((2026 - 1980) << 9) | (11 << 5) | 29
    return found + struct.pack(
        "<11sBBBHHHHHHHI",
        short, 0x20, 0, 0, time, date, date, cluster >> 16, time, date, cluster & 0xFFFF, size,
    )  # fmt: skip
