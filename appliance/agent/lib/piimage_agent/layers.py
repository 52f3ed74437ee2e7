"""Layers: which ones the Pi has, and how it receives another."""

from __future__ import annotations

import hashlib
import os
import stat
import zlib

from piimage_agent import services
from piimage_agent.refusal import Refused
from piimage_agent.root import Root, is_file, make_folders, names, remove, sync_folder

MAX_SIZE = 1 << 32
_MARGIN = 16 << 20  # of /data, reserved for the services
_SQUASHFS = b"hsqs"
_CHUNK = 1 << 18


def find(root: Root, digest: str) -> str | None:
    """Return the file of a layer: a deployed one, or else one of the slot."""
    for folder in (root.layers, f"{root.slot()}/layers"):
        path = f"{folder}/{digest}.squashfs"
        if is_file(path):
            return path
    return None


def unmount_removed(root: Root) -> None:
    """Unmount the layers whose files were removed, to free their space; one in use stays.

    Raises OSError if that takes a minute, or cannot be done at all.
    """
    every = (name for name in names(f"{root.run}/layers") if not find(root, name))
    gone = [f"{root.run}/layers/{name}" for name in every]
    if not gone:
        return
    services.run(["umount", *gone], root.at("usr/bin/umount"), 60)
    # A folder is there as long as its layer is mounted.
    for folder in gone:
        try:
            os.rmdir(folder)
        except OSError:
            continue


def partial(folder: str, digest: str) -> int:
    """Return how many bytes of a file were received before the connection was lost."""
    path = f"{folder}/{digest}.part"
    return os.lstat(path).st_size if is_file(path) else 0


def drop_parts(root: Root) -> None:
    """Remove incomplete layers."""
    for name in names(root.layers):
        if name.endswith(".part"):
            remove(f"{root.layers}/{name}")


class Incoming:
    """An incoming file, beside its final place until it is complete and has the right digest.

    The file is `digest` and `ending` in `folder`, and begins with `magic`.
    """

    def __init__(self, folder: str, digest: str, size: int, ending: str, magic: bytes) -> None:
        if not 0 < size <= MAX_SIZE:
            raise Refused("too-large", f"a layer of {size} bytes is larger than allowed")
        make_folders(folder)
        self.digest = digest
        self.size = size
        self._folder = folder
        self._final = f"{folder}/{digest}{ending}"
        self._magic = magic
        self._path = f"{folder}/{digest}.part"
        self._hash = hashlib.sha256()
        self._inflate = zlib.decompressobj()
        self._fd = self._open()
        try:
            self.offset = self._take_up()
            self._check_room()
        except BaseException:
            self.close()
            raise

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            fd = os.open(self._path, flags, 0o600)
        except OSError:
            raise Refused("bad-store", f"{self._path} cannot be written") from None
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise Refused("bad-store", f"{self._path} is not a file", "remove it")
        return fd

    def _take_up(self) -> int:
        """Hash the bytes of an earlier connection, and return their number."""
        offset = 0
        while data := os.read(self._fd, _CHUNK):
            self._hash.update(data)
            offset += len(data)
        if offset <= self.size:
            return offset
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)
        self._hash = hashlib.sha256()
        return 0

    def _check_room(self) -> None:
        found = os.statvfs(self._folder)
        free = found.f_bavail * found.f_frsize
        if self.size - self.offset + _MARGIN > free:
            raise Refused(
                "no-space",
                f"a layer of {self.size} bytes does not fit: /data has {free} bytes left",
                "free some space on /data, or use a larger card",
            )

    def add(self, data: bytes) -> None:
        """Append bytes of the layer; refuse more than the announced size."""
        if self.offset + len(data) > self.size:
            self._discard()
            raise Refused("bad-layer", f"layer {self.digest} is larger than its announced size")
        self._hash.update(data)
        self.offset += len(data)
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._fd, rest) :]

    def add_packed(self, data: bytes) -> None:
        """Append bytes of a zlib stream of the layer; refuse more than the announced size."""
        try:
            plain = self._inflate.decompress(data, self.size - self.offset + 1)
        except zlib.error:
            self._discard()
            raise Refused("bad-layer", f"layer {self.digest} cannot be unpacked") from None
        self.add(plain)

    def finish(self) -> None:
        """Rename the layer to its digest if it is complete and correct, or else remove it."""
        if self.offset != self.size:
            # The received part is kept, so that the rest may follow.
            os.fsync(self._fd)
            self.close()
            raise Refused(
                "short-layer", f"layer {self.digest} ended after {self.offset} of {self.size} bytes"
            )
        if self._hash.hexdigest() != self.digest:
            self._discard()
            raise Refused(
                "wrong-digest", f"the bytes of layer {self.digest} have another digest", "retry"
            )
        if os.pread(self._fd, len(self._magic), 0) != self._magic:
            self._discard()
            raise Refused("bad-layer", f"layer {self.digest} is not a squashfs")
        os.fsync(self._fd)
        self.close()
        os.rename(self._path, self._final)
        sync_folder(self._folder)

    def close(self) -> None:
        """Stop; the received part is kept, so that the rest may follow."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _discard(self) -> None:
        self.close()
        remove(self._path)


def incoming_layer(root: Root, digest: str, size: int) -> Incoming:
    """Return the incoming layer `digest` of `size` bytes."""
    return Incoming(root.layers, digest, size, ".squashfs", _SQUASHFS)
