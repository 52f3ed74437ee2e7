"""Detects the format of a file by its content, independent of its name.

Sources of the magic numbers: RFC 8878 (zstd), RFC 1952 (gzip), the .xz file format 1.2.1; for the
refused formats their own specifications, which file(1) lists as well.
"""

from __future__ import annotations

import struct
from typing import Final

from piimage.card import partitions
from piimage.errors import InputError, PiimageError

XZ: Final = "xz"
GZIP: Final = "gzip"
ZSTD: Final = "zstd"
MARKS: Final = {b"\xfd7zXZ\0": XZ, b"\x1f\x8b": GZIP, b"\x28\xb5\x2f\xfd": ZSTD}
"""The magic number of each supported compression."""

_SKIPPABLE: Final = 0x184D2A50  # a zstd or lz4 frame without data; any last digit is valid
_SECTOR: Final = 512
_PROTECTIVE: Final = 0xEE
_GPT: Final = b"EFI PART"
_WINDOWS: Final = (b"NTFS    ", b"EXFAT   ")
_OTHERS: Final[tuple[tuple[int, bytes, str], ...]] = (
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"PK\x05\x06", "an empty zip archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (0, b"Rar!\x1a\x07", "a rar archive"),
    (0, b"BZh", "compressed with bzip2"),
    (0, b"LZIP", "compressed with lzip"),
    (0, b"\x04\x22\x4d\x18", "compressed with lz4"),
    (0, b"\x5d\0\0", "compressed with lzma"),
    (0, b"\x1f\x9d", "compressed with compress"),
    (0, b"!<arch>\n", "a Debian package or another ar archive"),
    (0, b"070701", "a cpio archive"),
    (257, b"ustar", "a tar archive"),
    (0, b"%PDF-", "a PDF document"),
    (0, b"\x7fELF", "a program"),
    (0, b"MZ", "a Windows program"),
    (0, b"QFI\xfb", "a disk of QEMU (qcow2)"),
    (0, b"KDMV", "a disk of VMware"),
    (0, b"vhdxfile", "a disk of Hyper-V"),
    (0, b"conectix", "a disk of Virtual PC"),
    (64, b"\x7f\x10\xda\xbe", "a disk of VirtualBox"),
    (0, b"hsqs", "a squashfs file system without a partition table"),
    (1080, b"\x53\xef", "an ext4 file system without a partition table"),
    (32769, b"CD001", "the image of a CD"),
    (54, b"FAT1", "a FAT file system without a partition table"),
    (3, b"EXFAT   ", "an exFAT file system without a partition table"),
    (3, b"NTFS    ", "an NTFS file system without a partition table"),
    (82, b"FAT32", "a FAT file system without a partition table"),
    (0, b"<?xml", "an XML file"),
    (0, b"\x89PNG", "a picture"),
    (0, b"\xff\xd8\xff", "a picture"),
    (0, b"SIMPLE  =", "a FITS file"),
)  # fmt: skip


def packing(head: bytes) -> str:
    """Return the compression of a file that begins with `head`: XZ, GZIP, ZSTD, or ""."""
    for mark, name in MARKS.items():
        if head.startswith(mark):
            return name
    if len(head) >= 4 and struct.unpack_from("<I", head)[0] & ~0xF == _SKIPPABLE:
        return ZSTD
    return ""


def require_card(head: bytes, size: int, place: str) -> None:
    """Refuse a file that is not a card image; the error names its format.

    `head` is the unpacked start of the file (64 KiB, or all if it is shorter), `size` its unpacked
    size in bytes. Raises InputError ``flash.other-format``, PiimageError ``flash.bad-table``.
    """
    if head[_SECTOR - 2 : _SECTOR] == b"\x55\xaa" and not _is_file_system(head):
        _require_table(head, size, place)
        return
    raise InputError(
        "flash.other-format",
        f"the file is {name(head)}, not a card image",
        place=place,
        hint="give an image that `piimage build` made; if the file contains one, unpack it first",
    )


def name(head: bytes) -> str:
    """Return the name of the format of a file that begins with `head`."""
    for offset, mark, title in _OTHERS:
        if head[offset : offset + len(mark)] == mark:
            return title
    if inner := packing(head):
        return f"compressed with {inner}" + " a second time"
    if not head.strip(b"\0"):
        return "empty (its start is all zeros)"
    if head.lstrip()[:1] == b"<":
        return "a web page"
    if b"\0" not in head and head.isascii():
        return "a text file"
    return "of an unknown format, without a partition table"


def _is_file_system(head: bytes) -> bool:
    # The first sector of FAT ends like that of a partition table, but has code in place of entries.
    return head[54:58] == b"FAT1" or head[82:87] == b"FAT32" or head[3:11] in _WINDOWS


def _require_table(head: bytes, size: int, place: str) -> None:
    if head[_SECTOR : _SECTOR + 8] == _GPT and _PROTECTIVE in head[450:511:16]:
        _require_gpt(head, size, place)
        return
    try:
        table = partitions.decode(head[:_SECTOR], size, place)
    except PiimageError as error:
        raise _bad_table(error.message.partition(": ")[2], place) from None
    if not table.partitions:
        raise _bad_table("the table has no partitions", place)


def _require_gpt(head: bytes, size: int, place: str) -> None:
    """Refuse a GPT of a larger disk.

    UEFI 2.10, 5.3.2: byte 32 of the header holds the sector of its copy, byte 48 the last usable
    sector.
    """
    copy, _, last = struct.unpack_from("<QQQ", head.ljust(2 * _SECTOR, b"\0"), _SECTOR + 32)
    if (max(copy, last) + 1) * _SECTOR > size:
        raise _bad_table("the table (GPT) is that of a larger disk", place)


def _bad_table(reason: str, place: str) -> PiimageError:
    return PiimageError(
        "flash.bad-table",
        f"the partition table does not fit the image: {reason}",
        place=place,
        hint="the image is truncated or damaged; build or download it again",
    )
