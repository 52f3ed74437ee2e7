"""Block devices of the card: their names, and reads that the cache does not answer."""

from __future__ import annotations

import errno
import mmap
import os

from piimage_agent.refusal import Refused

_SECTOR = 512
_DIRECT_AT = 4096  # what O_DIRECT asks of an offset and a length, on any device


def partition(disk: str, number: str) -> str:
    """Return the name of a partition: /dev/vda2, /dev/mmcblk0p2."""
    return f"{disk}p{number}" if disk[-1:].isdigit() else f"{disk}{number}"


class Uncached:
    """Reads of a device from the device itself, as far as its file system allows."""

    def __init__(self, path: str) -> None:
        self._direct = True
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            self._direct = False  # a file in memory, in tests
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._buffer = mmap.mmap(-1, 1 << 20)

    def read(self, at: int, count: int) -> bytes:
        """Return up to `count` bytes, at most 1 MiB less a page, at any offset."""
        start = at // _DIRECT_AT * _DIRECT_AT
        length = -(-(at + count - start) // _DIRECT_AT) * _DIRECT_AT
        if not self._direct:
            os.posix_fadvise(self._fd, start, length, os.POSIX_FADV_DONTNEED)
        got = os.preadv(self._fd, [memoryview(self._buffer)[:length]], start)
        return self._buffer[at - start : min(got, at - start + count)]

    def close(self) -> None:
        """Close the device."""
        os.close(self._fd)
        self._buffer.close()


def read_uncached(path: str, at: int, count: int) -> bytes:
    """Return `count` bytes of a device, past the cache."""
    device = Uncached(path)
    try:
        return device.read(at, count)
    finally:
        device.close()


def write_sector(path: str, at: int, data: bytes) -> None:
    """Write one sector of a device in place, and read it back; raises Refused ``card-lies``."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.pwrite(fd, data, at)
        os.fsync(fd)
    finally:
        os.close(fd)
    if read_uncached(path, at, len(data)) != data:
        raise Refused("card-lies", f"the card did not keep what was written to byte {at} of {path}")
