"""What Linux says of an open block device (include/uapi/linux/fs.h)."""

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
    """Say whether it is a block device, not a regular file."""
    return stat.S_ISBLK(os.fstat(descriptor).st_mode)


def size(descriptor: int) -> int:
    """Return the device's or file's size in bytes."""
    if not is_block(descriptor):
        return os.fstat(descriptor).st_size
    return _number(descriptor, _GET_SIZE, "Q")


def sector(descriptor: int) -> int:
    """Return what direct I/O must be aligned to, in bytes."""
    return _number(descriptor, _SECTOR_SIZE, "I") if is_block(descriptor) else 4096


def read_only(descriptor: int) -> bool:
    """Say whether the kernel lets nothing be written to the device."""
    return is_block(descriptor) and bool(_number(descriptor, _READ_ONLY, "I"))


def sequence(descriptor: int) -> int | None:
    """Return the number that the kernel gives each medium once (None before Linux 5.15)."""
    try:
        return _number(descriptor, _DISK_SEQUENCE, "Q")
    except OSError:
        return None


def reread_table(descriptor: int) -> bool:
    """Have the kernel look at the partition table again; say whether it did."""
    try:
        fcntl.ioctl(descriptor, _READ_TABLE)
    except OSError:
        return False
    return True


def _number(descriptor: int, request: int, form: str) -> int:
    raw = fcntl.ioctl(descriptor, request, bytes(struct.calcsize(form)))
    return int(struct.unpack(form, raw)[0])
