"""A partition table in GPT form, for boards whose firmware is UEFI.

Source: UEFI specification 2.10, sections 5.2.3 (protective MBR) and 5.3 (GPT). All ids follow from
the number of the disk, which `piimage.disk-id=` on the kernel's command line has: it is the first
part of the disk's GUID.
"""

from __future__ import annotations

import struct
import uuid
import zlib
from collections.abc import Mapping
from typing import Final

from piimage.card import ids, partitions
from piimage.card.partitions import ALIGNMENT, SECTOR, Partition, Table, overlap, unreadable

PROTECTIVE: Final = 0xEE
"""The type of the MBR's single entry, which tells old tools that the disk is in use."""
_SIGNATURE: Final = b"EFI PART"
_REVISION: Final = 0x0001_0000
_HEADER: Final = struct.Struct("<8sIIIIQQQQ16sQIII")
_ENTRY: Final = struct.Struct("<16s16sQQQ72s")
_COUNT: Final = 128
_ARRAY: Final = _COUNT * _ENTRY.size // SECTOR  # sectors of the entries
HEAD: Final = (2 + _ARRAY) * SECTOR
"""The bytes at the start of the disk: the protective MBR, the header, and the entries."""
_TAIL: Final = (1 + _ARRAY) * SECTOR  # the copies: entries, then the header in the last sector
_TYPES: Final = {
    partitions.FAT: uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b"),
    partitions.LINUX: uuid.UUID("0fc63daf-8483-4772-8e79-3d69d8477de4"),
}
"""By the type of an MBR: the GUID of an EFI system partition, and of a Linux file system."""
_NAMES: Final = {partitions.FAT: "EFI system partition", partitions.LINUX: "data"}


def disk_size(table: Table) -> int:
    """Return the size of a disk that `table` fills: its copy needs room behind the partitions."""
    return table.end + ALIGNMENT


def encode(table: Table, size: int) -> Mapping[int, bytes]:
    """Return the two copies of `table` by their offsets on a disk of `size` bytes."""
    last = size // SECTOR - 1
    entries = b"".join(_entry(table, number) for number in range(1, _COUNT + 1))
    first = _header(table, entries, (1, last), 2, last)
    second = _header(table, entries, (last, 1), last - _ARRAY, last)
    return {
        0: _protective(last) + first + entries,
        size - _TAIL: entries + second,
    }


def _protective(last: int) -> bytes:
    whole = Partition(PROTECTIVE, SECTOR, min(last, 0xFFFF_FFFF) * SECTOR)
    return partitions.encode(Table(0, {1: whole}))


def _entry(table: Table, number: int) -> bytes:
    partition = table.partitions.get(number)
    if partition is None:
        return bytes(_ENTRY.size)
    return _ENTRY.pack(
        _TYPES[partition.kind].bytes_le,
        ids.unique_id(f"{table.disk_id:08x}", f"partition {number}").bytes_le,
        partition.start // SECTOR,
        partition.end // SECTOR - 1,
        0,
        _NAMES[partition.kind].encode("utf-16-le"),
    )


def _disk_guid(table: Table) -> bytes:
    rest = ids.unique_id(f"{table.disk_id:08x}", "disk").bytes_le
    return table.disk_id.to_bytes(4, "little") + rest[4:]


def _header(
    table: Table, entries: bytes, places: tuple[int, int], entries_at: int, last: int
) -> bytes:
    """Return a header's sector; `places` are its own sector and that of the other copy."""
    fields = (
        *places, 2 + _ARRAY, last - _ARRAY - 1, _disk_guid(table), entries_at, _COUNT, _ENTRY.size,
        zlib.crc32(entries),
    )  # fmt: skip
    without = _HEADER.pack(_SIGNATURE, _REVISION, _HEADER.size, 0, 0, *fields)
    check = zlib.crc32(without)
    header = _HEADER.pack(_SIGNATURE, _REVISION, _HEADER.size, check, 0, *fields)
    return header.ljust(SECTOR, b"\0")


def is_gpt(head: bytes) -> bool:
    """Tell whether a disk that begins with `head` has a GPT, whole or not."""
    return PROTECTIVE in head[450:SECTOR:16] and head[SECTOR : SECTOR + 8] == _SIGNATURE


def decode(head: bytes, size: int, origin: str) -> Table:
    """Read the table at the start of a disk of `size` bytes; `head` has its first `HEAD` bytes.

    A partition of another type than `piimage.card.partitions` names has the type 0. Raises
    PiimageError ``card.no-table`` if the table is damaged, or has partitions that overlap or
    exceed the disk. `origin` is the name of the disk in the message.
    """
    header = head[SECTOR : SECTOR + _HEADER.size]
    if len(head) < HEAD:
        raise unreadable("its GPT is cut off", origin)
    _, _, length, check, _, own, _, _, _, guid, at, count, each, entries_check = _HEADER.unpack(
        header
    )
    blank = header[:16] + bytes(4) + header[20:]
    if length != _HEADER.size or zlib.crc32(blank) != check or own != 1:
        raise unreadable("the header of its GPT is damaged", origin)
    if (at, count, each) != (2, _COUNT, _ENTRY.size):
        raise unreadable("its GPT has an unusual form", origin)
    entries = head[2 * SECTOR : HEAD]
    if zlib.crc32(entries) != entries_check:
        raise unreadable("the entries of its GPT are damaged", origin)
    kinds = {known: kind for kind, known in _TYPES.items()}
    found: dict[int, Partition] = {}
    for number, entry in enumerate(_ENTRY.iter_unpack(entries), start=1):
        kind, _, first, last, _, _ = entry
        if any(kind):
            start, length = first * SECTOR, (last + 1 - first) * SECTOR
            found[number] = Partition(kinds.get(uuid.UUID(bytes_le=kind), 0), start, length)
    if overlap(found.values(), HEAD, size):
        raise unreadable("its partitions overlap or exceed the disk", origin)
    return Table(int.from_bytes(guid[:4], "little"), found)
