"""The partition table of a card: MBR with up to four primary partitions.

Source: UEFI specification 2.10, section 5.2 (legacy MBR).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from piimage.errors import InputError, PiimageError

SECTOR: Final = 512
ALIGNMENT: Final = 1 << 20
FAT: Final = 0x0C  # FAT of any width, addressed by sector number (LBA)
LINUX: Final = 0x83
_ENTRY: Final = struct.Struct("<B3sB3sII")
_ENTRIES_AT: Final = 446
_DISK_ID_AT: Final = 440
_SIGNATURE: Final = b"\x55\xaa"
_MAX_SECTOR: Final = 0xFFFF_FFFF
_HEADS: Final = 255
_TRACK: Final = 63


@dataclass(frozen=True)
class Partition:
    """A partition of the MBR type `kind`: `size` bytes from `start` on."""

    kind: int
    start: int
    size: int
    active: bool = False

    @property
    def end(self) -> int:
        """The first byte after it."""
        return self.start + self.size


@dataclass(frozen=True)
class Table:
    """The disk's 32-bit id and its primary partitions by number (1 to 4)."""

    disk_id: int
    partitions: dict[int, Partition]

    @property
    def end(self) -> int:
        """The first byte after the last partition."""
        return max((partition.end for partition in self.partitions.values()), default=ALIGNMENT)


def lay_out(volumes: Iterable[tuple[int, int]], start: int = ALIGNMENT) -> tuple[Partition, ...]:
    """Place partitions, given as type and size in bytes, one after another from `start` on.

    Raises InputError ``card.partitions`` for more than four partitions, a size that is not a
    multiple of 1 MiB, or an end past 2 TiB.
    """
    placed: list[Partition] = []
    at = start
    for kind, size in volumes:
        if size <= 0 or size % ALIGNMENT:
            raise _unplaceable(f"a partition of {size} bytes is not a whole number of MiB")
        placed.append(Partition(kind, at, size))
        at += size
    if len(placed) > 4:
        raise _unplaceable(f"there are {len(placed)} partitions, but an MBR can hold four")
    if at > _MAX_SECTOR * SECTOR:
        raise _unplaceable("the partitions end past 2 TiB, the limit of an MBR")
    return tuple(placed)


def _unplaceable(message: str) -> InputError:
    return InputError(
        "card.partitions", message, hint="change the sizes of the slots or of `data:`"
    )


def encode(table: Table) -> bytes:
    """Return the first sector of a disk with `table`, without boot code."""
    sector = bytearray(SECTOR)
    struct.pack_into("<I", sector, _DISK_ID_AT, table.disk_id)
    for number, partition in table.partitions.items():
        first, count = partition.start // SECTOR, partition.size // SECTOR
        _ENTRY.pack_into(
            sector,
            _ENTRIES_AT + (number - 1) * _ENTRY.size,
            0x80 if partition.active else 0,
            _chs(first),
            partition.kind,
            _chs(first + count - 1),
            first,
            count,
        )
    sector[-2:] = _SIGNATURE
    return bytes(sector)


def _chs(sector: int) -> bytes:
    """Return cylinder, head and sector for old tools, or the marker for a sector out of range."""
    cylinder, rest = divmod(sector, _HEADS * _TRACK)
    if cylinder > 1023:
        return b"\xfe\xff\xff"
    head, track_sector = divmod(rest, _TRACK)
    return bytes([head, (cylinder >> 2 & 0xC0) | (track_sector + 1), cylinder & 0xFF])


def decode(sector: bytes, disk_size: int, origin: str) -> Table:
    """Read the partition table in the first `sector` of a disk of `disk_size` bytes.

    Raises PiimageError ``card.no-table`` if there is no table, or if partitions overlap or exceed
    the disk. `origin` is the name of the disk in the message.
    """
    if len(sector) < SECTOR or sector[SECTOR - 2 : SECTOR] != _SIGNATURE:
        raise unreadable("it has no MBR", origin)
    partitions: dict[int, Partition] = {}
    for number in range(1, 5):
        status, _, kind, _, first, count = _ENTRY.unpack_from(
            sector, _ENTRIES_AT + (number - 1) * _ENTRY.size
        )
        if status & 0x7F:
            raise unreadable(f"entry {number} of its MBR is invalid", origin)
        if kind and count:
            partitions[number] = Partition(kind, first * SECTOR, count * SECTOR, bool(status))
    if overlap(partitions.values(), SECTOR, disk_size):
        raise unreadable("its partitions overlap or exceed the disk", origin)
    (disk_id,) = struct.unpack_from("<I", sector, _DISK_ID_AT)
    return Table(disk_id, partitions)


def overlap(placed: Iterable[Partition], start: int, end: int) -> bool:
    """Tell whether partitions overlap, or are not between `start` and `end` of the disk."""
    at = start
    for partition in sorted(placed, key=lambda p: p.start):
        if partition.start < at or partition.end > end or partition.size <= 0:
            return True
        at = partition.end
    return False


def unreadable(reason: str, origin: str) -> PiimageError:
    """Return the error for a disk without a table that can be used."""
    return PiimageError(
        "card.no-table",
        f"this is not a card image: {reason}",
        place=origin,
        hint="give an uncompressed image that `piimage build` made",
    )
