"""An ISO 9660 file system around one boot image, which UEFI starts from a CD.

It lies in what a GPT leaves free before the first partition, so that the same bytes are a CD and a
disk: both lead to the same FAT. Sources: ECMA-119 (4th edition), chapters 7 to 9 and 10.1;
"El Torito" Bootable CD-ROM Format Specification 1.0; UEFI specification 2.10, section 13.3.2.1.
"""

from __future__ import annotations

import re
import struct
from datetime import UTC, datetime
from typing import Final

from piimage.card.partitions import Partition
from piimage.clock import EPOCH

BLOCK: Final = 2048
START: Final = 16 * BLOCK
"""Where it begins: ISO 9660 leaves the blocks before to others, here to the GPT."""
_MAGIC: Final = b"CD001"
_PRIMARY_AT, _BOOT_AT, _END_AT, _PATHS_AT, _BIG_PATHS_AT, _ROOT_AT, _CATALOG_AT = range(16, 23)
_DESCRIPTOR: Final = struct.Struct("<B5sB")
_PRIMARY: Final = struct.Struct(
    "<x32s32s8x8s32x4s4s4s8sI4x4s4x34s128s128s128s128s37s37s37s17s17s17s17sBx"
)
_RECORD: Final = struct.Struct("<BB8s8s7sBBB4sB")
_PATH_OF_ROOT: Final = {"<": struct.pack("<BBIHBx", 1, 0, _ROOT_AT, 1, 0),
                        ">": struct.pack(">BBIHBx", 1, 0, _ROOT_AT, 1, 0)}  # fmt: skip
_FOLDER: Final = 2
_EL_TORITO: Final = b"EL TORITO SPECIFICATION"
_VALIDATION: Final = struct.Struct("<BBH24sHBB")
_ENTRY: Final = struct.Struct("<BBHBBHI20x")
_UEFI: Final = 0xEF
_BOOTABLE: Final = 0x88
_TO_THE_END: Final = 0
"""The size of the boot image in the catalog, which cannot tell more than 32 MiB (UEFI)."""


def encode(name: str, image: Partition, size: int) -> bytes:
    """Return the file system, which belongs at byte `START` of a CD of `size` bytes.

    Its label is made of `name`. The boot image is also its file EFI.IMG. The bytes depend on the
    arguments alone. `size` and the place of `image` are multiples of `BLOCK`, and `image` has less
    than 4 GiB.
    """
    blocks = (
        _primary(_label(name), size // BLOCK), _boot_record(), _DESCRIPTOR.pack(255, _MAGIC, 1),
        _PATH_OF_ROOT["<"], _PATH_OF_ROOT[">"], _root(image), _catalog(image),
    )  # fmt: skip
    return b"".join(block.ljust(BLOCK, b"\0") for block in blocks)


def is_cd(head: bytes) -> bool:
    """Tell whether a file that begins with `head`, of 64 KiB or more, is the image of a CD."""
    return head[START + 1 : START + 6] == _MAGIC


def _label(name: str) -> bytes:
    return re.sub(r"[^A-Z0-9_]", "_", name.upper())[:32].encode()


def _primary(label: bytes, blocks: int) -> bytes:
    once = _both16(1)
    unnamed = (b" " * 128,) * 4 + (b" " * 37,) * 3
    made = datetime.fromtimestamp(EPOCH, UTC).strftime("%Y%m%d%H%M%S00").encode() + b"\0"
    never = b"0" * 16 + b"\0"
    paths = _PATH_OF_ROOT["<"]
    return _DESCRIPTOR.pack(1, _MAGIC, 1) + _PRIMARY.pack(
        b" " * 32, label.ljust(32), _both32(blocks), once, once, _both16(BLOCK),
        _both32(len(paths)), _PATHS_AT, _BIG_PATHS_AT.to_bytes(4, "big"),
        _record(b"\0", _ROOT_AT, BLOCK, _FOLDER), *unnamed, made, made, never, never, 1,
    )  # fmt: skip


def _boot_record() -> bytes:
    catalog = struct.pack("<32s32xI", _EL_TORITO, _CATALOG_AT)
    return _DESCRIPTOR.pack(0, _MAGIC, 1) + catalog


def _root(image: Partition) -> bytes:
    """Return the only folder; its files are sorted by their names."""
    itself = (_ROOT_AT, BLOCK, _FOLDER)
    return b"".join([
        _record(b"\0", *itself),
        _record(b"\1", *itself),
        _record(b"BOOT.CAT;1", _CATALOG_AT, BLOCK),
        _record(b"EFI.IMG;1", image.start // BLOCK, image.size),
    ])  # fmt: skip


def _record(name: bytes, block: int, size: int, flags: int = 0) -> bytes:
    at = datetime.fromtimestamp(EPOCH, UTC)
    date = bytes([at.year - 1900, at.month, at.day, at.hour, at.minute, at.second, 0])
    length = _RECORD.size + len(name) + (_RECORD.size + len(name)) % 2
    fields = (length, 0, _both32(block), _both32(size), date, flags, 0, 0, _both16(1), len(name))
    return (_RECORD.pack(*fields) + name).ljust(length, b"\0")


def _catalog(image: Partition) -> bytes:
    """Return the boot catalog: one image for UEFI, which is no image of a floppy or hard disk."""
    plain = _VALIDATION.pack(1, _UEFI, 0, b"", 0, 0x55, 0xAA)
    check = -sum(struct.unpack("<16H", plain)) & 0xFFFF
    validation = _VALIDATION.pack(1, _UEFI, 0, b"", check, 0x55, 0xAA)
    start = image.start // BLOCK
    return validation + _ENTRY.pack(_BOOTABLE, 0, 0, 0, 0, _TO_THE_END, start)


def _both16(number: int) -> bytes:
    return number.to_bytes(2, "little") + number.to_bytes(2, "big")


def _both32(number: int) -> bytes:
    return number.to_bytes(4, "little") + number.to_bytes(4, "big")
