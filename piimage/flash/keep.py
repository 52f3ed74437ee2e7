"""Keeps the data partition of a card that is flashed again with an image that has it there too.

Source of the superblock's fields: the kernel's Documentation/filesystems/ext4/super.rst.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from piimage.card import partitions, tables
from piimage.card.partitions import Partition, Table
from piimage.errors import DeviceRefused, PiimageError
from piimage.flash import source
from piimage.flash.medium import Medium, buffer
from piimage.flash.provision import data_partition
from piimage.flash.source import Image
from piimage.run import Runner

_BLOCK: Final = 4096
_SUPERBLOCK: Final = 1024
_BLOCKS_AT, _SIZE_AT, _MAGIC_AT, _FEATURES_AT, _LABEL_AT, _HIGH_AT = (
    0x4, 0x18, 0x38, 0x60, 0x78, 0x150,
)  # fmt: skip
_MAGIC: Final = b"\x53\xef"
_64BIT: Final = 0x80
_LABEL: Final = b"data"
_TABLE_AT: Final = 446  # UEFI 2.10, table 5-1
_SYSTEM_LABELS: Final = frozenset({"vfat SLOT-A", "vfat PIIMAGE"})


def holds_data(contents: Iterable[str]) -> bool:
    """Tell whether a disk with the file systems ``TYPE LABEL`` is a card with a /data."""
    found = set(contents)
    return "ext4 data" in found and not found.isdisjoint(_SYSTEM_LABELS)


def kept_partition(medium: Medium, image: Image, runner: Runner, *, resume: bool) -> Partition:
    """Return the data partition of the card, where `image` has its own.

    With `resume` only the file system counts: the interrupted flash has overwritten the table.
    Raises DeviceRefused ``flash.no-data-to-keep``.
    """
    size = image.size or medium.size
    own = data_partition(source.first_bytes(image, runner), size, str(image.path))
    if not resume:
        _require_same_start(medium, own)
    block = buffer()[:_BLOCK]
    medium.read(own.start, block)
    used = _file_system_size(bytes(block[_SUPERBLOCK:]))
    if used is None:
        raise _refused(medium, "there is no data partition of piimage where the image has its own")
    if own.start + used > medium.size:
        raise _refused(medium, "its data partition ends behind the end of the card")
    whole = -(-used // partitions.SECTOR) * partitions.SECTOR
    return replace(own, size=min(max(whole, own.size), medium.size - own.start))


def with_partition(head: memoryview, size: int, kept: Partition) -> None:
    """Give the data partition in the table that `head` begins with the place and size of `kept`."""
    start = bytes(head[: tables.HEAD])
    table = tables.decode(start, size, "the image")
    changed = {**table.partitions, max(table.partitions): kept}
    # Of a GPT, the copy at the end of the disk is left to the system, which grows the partition.
    encoded = tables.form_of(start).encode(Table(table.disk_id, changed), size)[0]
    head[_TABLE_AT : len(encoded)] = encoded[_TABLE_AT:]


def _require_same_start(medium: Medium, own: Partition) -> None:
    block = buffer()[: 1 << 15]  # more than tables.HEAD, in whole pages
    medium.read(0, block)
    try:
        current = data_partition(bytes(block), medium.size, medium.path)
    except PiimageError as error:
        raise _refused(medium, error.message) from None
    if current.start != own.start:
        reason = f"its data partition begins at {current.start}, that of the image at {own.start}"
        raise _refused(medium, reason)


def _file_system_size(superblock: bytes) -> int | None:
    """Return the size in bytes of the file system of a data partition; None for anything else."""
    label = superblock[_LABEL_AT : _LABEL_AT + 16].rstrip(b"\0")
    if superblock[_MAGIC_AT : _MAGIC_AT + 2] != _MAGIC or label != _LABEL:
        return None
    blocks, logarithm, features, high = (
        struct.unpack_from("<I", superblock, at)[0]
        for at in (_BLOCKS_AT, _SIZE_AT, _FEATURES_AT, _HIGH_AT)
    )
    if logarithm > 6:  # 64 KiB, the largest block
        return None
    if features & _64BIT:
        blocks |= high << 32
    return int(blocks) << (10 + int(logarithm))


def _refused(medium: Medium, reason: str) -> DeviceRefused:
    return DeviceRefused(
        "flash.no-data-to-keep",
        f"/data cannot be kept: {reason}",
        place=medium.path,
        hint="nothing was written; flash without --keep-data, which erases /data",
    )
