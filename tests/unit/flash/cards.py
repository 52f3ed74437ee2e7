"""A small image with a block map, and cards in memory that fail as real ones do."""

from __future__ import annotations

import functools
import io
import mmap
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from piimage.card import bmap, partitions
from piimage.card.extents import Extent
from piimage.card.partitions import Partition, Table
from piimage.flash.medium import Medium, medium_of

MIB = 1 << 20
SIZE = 24 * MIB
MAPPED = (
    Extent(0, MIB + 65536),
    Extent(5 * MIB + 4096, 9 * MIB),
    Extent(12 * MIB, 12 * MIB + 12288),
    Extent(20 * MIB, 20 * MIB + 4096 * 7),
)


def content() -> bytearray:
    """The image's bytes: random where mapped, zeros elsewhere."""
    return bytearray(_content())


@functools.cache
def _content() -> bytes:
    data = bytearray(SIZE)
    source = random.Random(7)
    for extent in MAPPED:
        data[extent.start : extent.end] = source.randbytes(extent.size)
    table = Table(7, {1: Partition(partitions.FAT, MIB, 8 * MIB)})
    data[:512] = partitions.encode(table)
    return bytes(data)


def image_file(folder: Path, *, mapped: bool = True) -> Path:
    path = folder / "pi4.img"
    with path.open("wb") as file:
        for extent in MAPPED:
            file.seek(extent.start)
            file.write(_content()[extent.start : extent.end])
        file.truncate(SIZE)
    if mapped:
        (folder / "pi4.bmap").write_bytes(_map())
    return path


@functools.cache
def _map() -> bytes:
    return bmap.encode(bmap.measure(io.BytesIO(_content()), SIZE, MAPPED))


def holds_image(card: bytes | bytearray | mmap.mmap) -> bool:
    wanted = _content()
    return all(card[e.start : e.end] == wanted[e.start : e.end] for e in MAPPED)


def bootable(card: bytes | bytearray | mmap.mmap) -> bool:
    return bytes(card[510:512]) == b"\x55\xaa"


def used(size: int) -> mmap.mmap:
    """What a card holds that was used before: another card that boots.

    Each test has the pages that it writes to itself, and shares the others.
    """
    return mmap.mmap(_used(size), size, access=mmap.ACCESS_COPY)


@functools.cache
def _used(size: int) -> int:
    data = bytearray(b"\xde\xad\xbe\xef" * (size // 4))
    data[510:512] = b"\x55\xaa"
    file = os.memfd_create("used")
    with os.fdopen(file, "wb", closefd=False) as writer:
        writer.write(data)
    return file


@contextmanager
def file_medium(path: Path) -> Iterator[Medium]:
    descriptor = os.open(path, os.O_RDWR | os.O_DIRECT)
    try:
        yield medium_of(str(path), descriptor)
    finally:
        os.close(descriptor)


Fault = Callable[["Card", str, int, memoryview], None]


@dataclass(frozen=True)
class Card(Medium):
    """A card in memory; `fault` sees each read and write before it is carried out."""

    bytes: bytearray | mmap.mmap = field(default_factory=lambda: used(SIZE))
    fault: Fault = lambda card, operation, offset, data: None
    real: int = 1 << 62

    def read(self, offset: int, into: memoryview) -> None:
        self.fault(self, "read", offset, into)
        if offset + len(into) <= self.real:
            into[:] = self.bytes[offset : offset + len(into)]
            return
        for at in range(0, len(into), 512):
            place = (offset + at) % self.real
            into[at : at + 512] = self.bytes[place : place + 512]

    def write(self, offset: int, data: memoryview) -> None:
        self.fault(self, "write", offset, data)
        self.keep(offset, data)

    def keep(self, offset: int, data: memoryview) -> None:
        if offset + len(data) <= self.real:
            self.bytes[offset : offset + len(data)] = data
            return
        for at in range(0, len(data), 512):
            place = (offset + at) % self.real
            self.bytes[place : place + 512] = data[at : at + 512]

    def flush(self) -> None:
        self.fault(self, "flush", 0, memoryview(b""))

    def require_same_card(self) -> None:
        pass


def card(size: int = 32 * MIB, fault: Fault | None = None, real: int = 1 << 62) -> Card:
    return Card("card", -1, size, 512, None, used(size), fault or (lambda *_: None), real)
