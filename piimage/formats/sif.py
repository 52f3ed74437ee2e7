"""The Singularity Image Format, version 1: header, descriptors, and the objects that they describe.

Source: the layout that siftool 2.8 of Debian 12 writes and reads. All numbers are little-endian and
nothing is padded: the header has 128 bytes, a descriptor 585. A reader takes any number of
descriptors; 48, at offset 4096, is what other writers reserve.
"""

from __future__ import annotations

import shutil
import struct
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import BinaryIO, Final

from piimage.clock import EPOCH

_HEADER: Final = struct.Struct("<32s10s3s3s16sqqqqqqqq")
_DESCRIPTOR: Final = struct.Struct("<i?IIIqqqqqqq128s384s")
_PARTITION: Final = struct.Struct("<ii3s")
_FORMAT: Final = struct.Struct("<i")

_LAUNCH: Final = b"#!/usr/bin/env run-singularity\n"
_MAGIC: Final = b"SIF_MAGIC\0"
_VERSION: Final = b"01\0"
_ARM64: Final = b"04\0"
_DESCRIPTORS_AT: Final = 4096
_DESCRIPTORS: Final = 48
_DATA_AT: Final = _DESCRIPTORS_AT + _DESCRIPTORS * _DESCRIPTOR.size
_GROUP: Final = 0xF000_0001
"""The first group of objects: all that belong to one container."""
_PAGE: Final = 4096
"""A partition begins at such an offset, so that it can be mapped and mounted."""
_SQUASHFS: Final = 1
_PRIMARY: Final = 2
_SPDX_JSON: Final = 4


class DataType(IntEnum):
    """What an object is."""

    DEFINITION = 0x4001
    LABELS = 0x4003
    PARTITION = 0x4004
    JSON = 0x4006
    BILL = 0x4009


@dataclass(frozen=True)
class Document:
    """An object of text; `type` is not PARTITION."""

    type: DataType
    name: str
    data: bytes

    @property
    def _extra(self) -> bytes:
        return _FORMAT.pack(_SPDX_JSON) if self.type is DataType.BILL else b""


def write(
    target: BinaryIO, squashfs: Path, documents: Sequence[Document], identity: uuid.UUID
) -> None:
    """Write a SIF of `documents` and the root file system `squashfs` to the empty file `target`.

    The file system is the primary partition, for arm64. The times are EPOCH.
    """
    target.write(bytes(_DATA_AT))
    rows = []
    for number, document in enumerate(documents, 1):
        start = target.tell()
        target.write(document.data)
        rows.append(_row(number, document.type, document.name, (start, start, target.tell()),
                         document._extra))  # fmt: skip
    end = target.tell()
    target.write(bytes(-end % _PAGE))
    start = target.tell()
    with squashfs.open("rb") as source:
        shutil.copyfileobj(source, target, 1 << 20)
    extra = _PARTITION.pack(_SQUASHFS, _PRIMARY, _ARM64)
    place = (end, start, target.tell())
    rows.append(_row(len(rows) + 1, DataType.PARTITION, "rootfs.squashfs", place, extra))
    size = target.tell() - _DATA_AT
    target.seek(0)
    target.write(_header(len(rows), size, identity))
    target.seek(_DESCRIPTORS_AT)
    target.write(b"".join(rows))


def _header(used: int, size: int, identity: uuid.UUID) -> bytes:
    return _HEADER.pack(
        _LAUNCH, _MAGIC, _VERSION, _ARM64, identity.bytes, EPOCH, EPOCH, _DESCRIPTORS - used,
        _DESCRIPTORS, _DESCRIPTORS_AT, _DATA_AT - _DESCRIPTORS_AT, _DATA_AT, size,
    )  # fmt: skip


def _row(
    number: int, kind: DataType, name: str, place: tuple[int, int, int], extra: bytes
) -> bytes:
    """Return a descriptor; `place` is the end of the object before, this one's start and its end.

    The size with padding counts the bytes before the object that align it.
    """
    before, start, end = place
    return _DESCRIPTOR.pack(
        kind, True, number, _GROUP, 0, start, end - start, end - before, EPOCH, EPOCH, 0, 0,
        name.encode(), extra,
    )  # fmt: skip
