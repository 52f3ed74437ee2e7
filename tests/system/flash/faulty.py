"""A disk that fails: a FUSE file `disk`, and a file `control` that says how it fails from now on.

Started by the tests as a process of its own: `python faulty.py MOUNTPOINT SIZE`. A line written to
`control` is a kind of fault and a number; it empties the disk first. Kinds: none, write-error,
read-error, drop, flip, zero (at a byte), wrap, end (bytes that are really there), dies (operations
that still succeed), slow (milliseconds of each write).
"""

from __future__ import annotations

import errno
import stat
import sys
import time

import mfusepy


class FaultyDisk(mfusepy.Operations):
    use_ns = True

    def __init__(self, size: int) -> None:
        self.size = size
        self.bytes = bytearray(size)
        self.kind, self.number, self.count = "none", 0, 0

    def getattr(self, path: str, fh: object = None) -> dict[str, int]:
        if path == "/":
            return {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2}
        size = {"/disk": self.size, "/control": 0}.get(path)
        if size is None:
            raise mfusepy.FuseOSError(errno.ENOENT)
        return {"st_mode": stat.S_IFREG | 0o600, "st_nlink": 1, "st_size": size}

    def readdir(self, path: str, fh: object) -> list[str]:
        return [".", "..", "disk", "control"]

    def truncate(self, path: str, length: int, fh: object = None) -> int:
        return 0

    def read(self, path: str, size: int, offset: int, fh: object) -> bytes:
        if path == "/control":
            return b""
        self._operation()
        if self.kind == "read-error" and offset <= self.number < offset + size:
            raise mfusepy.FuseOSError(errno.EIO)
        if self.kind == "end" and offset + size > self.number:
            raise mfusepy.FuseOSError(errno.EIO)
        if self.kind == "wrap":
            return b"".join(
                self.bytes[at % self.number : at % self.number + 512]
                for at in range(offset, offset + size, 512)
            )
        return bytes(self.bytes[offset : offset + size])

    def write(self, path: str, data: bytes, offset: int, fh: object) -> int:
        if path == "/control":
            kind, number = data.decode().split()
            self.bytes = bytearray(self.size)
            self.kind, self.number, self.count = kind, int(number), 0
            return len(data)
        self._operation()
        hit = offset <= self.number < offset + len(data)
        if self.kind == "slow":
            time.sleep(self.number / 1000)
        if (self.kind == "write-error" and hit) or (
            self.kind == "end" and offset + len(data) > self.number
        ):
            raise mfusepy.FuseOSError(errno.ENOSPC if self.kind == "end" else errno.EIO)
        if self.kind == "drop" and hit:
            return len(data)
        if self.kind == "wrap":
            for at in range(0, len(data), 512):
                place = (offset + at) % self.number
                self.bytes[place : place + 512] = data[at : at + 512]
            return len(data)
        self.bytes[offset : offset + len(data)] = data
        if self.kind == "flip" and hit:
            self.bytes[self.number] ^= 0x10
        if self.kind == "zero" and hit:
            self.bytes[offset : offset + len(data)] = bytes(len(data))
        return len(data)

    def fsync(self, path: str, datasync: int, fh: object) -> int:
        self._operation()
        return 0

    def _operation(self) -> None:
        self.count += 1
        if self.kind == "dies" and self.count > self.number:
            raise mfusepy.FuseOSError(errno.EIO)


if __name__ == "__main__":
    mfusepy.FUSE(FaultyDisk(int(sys.argv[2])), sys.argv[1], foreground=True, nothreads=True)
