"""The ioctls of an open block device (include/uapi/linux/fs.h)."""

from __future__ import annotations

import fcntl
import os
import stat
import struct
from typing import Final

_GET_SIZE: Final = 0x80081272  # BLKGETSIZE64
_SECTOR_SIZE: Final = 0x1268  # BLKSSZGET
_READ_ONLY: Final = 0x125E  # BLKROGET
_READ_TABLE: Final = 0x125F  # BLKRRPART
_DISK_SEQUENCE: Final = 0x80081280  # BLKGETDISKSEQ


def is_block(descriptor: int) -> bool:
    """Return whether the descriptor is that of a block device."""
    return stat.S_ISBLK(os.fstat(descriptor).st_mode)


def size(descriptor: int) -> int:
    """Return the size of the device or file in bytes."""
    if not is_block(descriptor):
        return os.fstat(descriptor).st_size
    return _number(descriptor, _GET_SIZE, "Q")


def sector(descriptor: int) -> int:
    """Return the alignment of direct I/O in bytes."""
    return _number(descriptor, _SECTOR_SIZE, "I") if is_block(descriptor) else 4096


def read_only(descriptor: int) -> bool:
    """Return whether the kernel refuses all writes to the device."""
    return is_block(descriptor) and bool(_number(descriptor, _READ_ONLY, "I"))


def sequence(descriptor: int) -> int | None:
    """Return the kernel's unique number of the inserted medium; None before Linux 5.15."""
    try:
        return _number(descriptor, _DISK_SEQUENCE, "Q")
    except OSError:
        return None


def reread_table(descriptor: int) -> bool:
    """Ask the kernel to read the partition table again; return whether it did."""
    try:
        fcntl.ioctl(descriptor, _READ_TABLE)
    except OSError:
        return False
    return True


def _number(descriptor: int, request: int, form: str) -> int:
    raw = fcntl.ioctl(descriptor, request, bytes(struct.calcsize(form)))
    return int(struct.unpack(form, raw)[0])
