"""Character devices in user space: the kernel's CUSE protocol, without a library.

A `CuseDevice` is a node under /dev. Structures and numbers are those of linux/fuse.h. At first, the
request of an ioctl has only the argument. If the server needs the memory that the argument points
to, it replies with a list of ranges, and the kernel repeats the request with their contents
(``FUSE_IOCTL_RETRY``). So an ioctl is a function here that returns the result or missing ranges.
"""

from __future__ import annotations

import errno
import os
import selectors
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

_CUSE = "/dev/cuse"
_BUFFER = 1 << 18
_IN_HEADER = struct.Struct("<IIQQIIIHH")
_OUT_HEADER = struct.Struct("<IiQ")
_INIT_IN = struct.Struct("<IIII")
_INIT_OUT = struct.Struct("<IIIIIIII40x")
_OPEN_OUT = struct.Struct("<QII")
_READ_WRITE_IN = struct.Struct("<QQIIQII")
_WRITE_OUT = struct.Struct("<II")
_IOCTL_IN = struct.Struct("<QIIQII")
_IOCTL_OUT = struct.Struct("<iIII")
_IOVEC = struct.Struct("<QQ")

_OPEN, _READ, _WRITE, _RELEASE, _FLUSH, _INTERRUPT, _IOCTL = 14, 15, 16, 18, 25, 36, 39
_CUSE_INIT = 4096
_UNRESTRICTED_IOCTL = 1
_RETRY = 1 << 2
_MAX_TRANSFER = 1 << 16


@dataclass(frozen=True)
class Range:
    """Memory of the calling process: an address and a length."""

    address: int
    length: int


@dataclass(frozen=True)
class Need:
    """The memory that an ioctl needs to read and to write."""

    read: tuple[Range, ...]
    write: tuple[Range, ...] = ()


@dataclass(frozen=True)
class Done:
    """The result of an ioctl, and the bytes for the ranges to write."""

    data: bytes = b""
    result: int = 0


@dataclass(frozen=True)
class Call:
    """The request of an ioctl. `data` holds the ranges to read, one after another."""

    command: int
    argument: int
    data: bytes
    out_size: int

    def has(self, need: Need) -> bool:
        """Return whether the request contains everything in `need`."""
        read = sum(r.length for r in need.read)
        return len(self.data) == read and self.out_size == sum(r.length for r in need.write)


class OpenFile(Protocol):
    """An open file of a node. Each method may raise OSError with the errno for the caller."""

    def read(self, length: int) -> bytes:
        """Return the bytes for read(2)."""
        ...

    def write(self, data: bytes) -> None:
        """Accept the bytes of write(2)."""
        ...

    def ioctl(self, call: Call) -> Need | Done:
        """Return the result, or what is missing."""
        ...


class Node(Protocol):
    """A device: its name under /dev, and a new state for each open file."""

    @property
    def name(self) -> str:
        """The name under /dev."""
        ...

    def open(self) -> OpenFile:
        """Open the device."""
        ...


@dataclass
class CuseDevice:
    """A session with the kernel for one node. Raises OSError if there is no CUSE."""

    node: Node
    _files: dict[int, OpenFile] = field(default_factory=dict)
    _next: int = 1

    def __post_init__(self) -> None:
        self._fd = os.open(_CUSE, os.O_RDWR | os.O_CLOEXEC)

    def fileno(self) -> int:
        """Return the file descriptor for select."""
        return self._fd

    def close(self) -> None:
        """Remove the node."""
        os.close(self._fd)

    def answer(self) -> None:
        """Receive one request from the kernel and answer it."""
        request = os.read(self._fd, _BUFFER)
        _, opcode, unique, *_ = _IN_HEADER.unpack_from(request)
        if opcode == _INTERRUPT:
            return
        error, body = 0, b""
        try:
            body = self._dispatch(opcode, request[_IN_HEADER.size :])
        except OSError as caught:
            error = -(caught.errno or errno.EIO)
        header = _OUT_HEADER.pack(_OUT_HEADER.size + len(body), error, unique)
        os.write(self._fd, header + body)

    def _dispatch(self, opcode: int, body: bytes) -> bytes:
        if opcode == _CUSE_INIT:
            return self._init(body)
        if opcode == _OPEN:
            return self._open()
        if opcode in (_RELEASE, _FLUSH):
            if opcode == _RELEASE:
                self._files.pop(struct.unpack_from("<Q", body)[0], None)
            return b""
        if opcode == _READ:
            handle, _, size, *_ = _READ_WRITE_IN.unpack_from(body)
            return self._files[handle].read(size)
        if opcode == _WRITE:
            handle, _, size, *_ = _READ_WRITE_IN.unpack_from(body)
            self._files[handle].write(body[_READ_WRITE_IN.size :][:size])
            return _WRITE_OUT.pack(size, 0)
        if opcode == _IOCTL:
            return self._ioctl(body)
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    def _init(self, body: bytes) -> bytes:
        major, minor, *_ = _INIT_IN.unpack_from(body)
        limits = (_MAX_TRANSFER, _MAX_TRANSFER)
        reply = _INIT_OUT.pack(major, minor, 0, _UNRESTRICTED_IOCTL, *limits, 0, 0)
        return reply + f"DEVNAME={self.node.name}".encode() + b"\0"

    def _open(self) -> bytes:
        handle, self._next = self._next, self._next + 1
        self._files[handle] = self.node.open()
        return _OPEN_OUT.pack(handle, 0, 0)

    def _ioctl(self, body: bytes) -> bytes:
        handle, _, command, argument, in_size, out_size = _IOCTL_IN.unpack_from(body)
        data = body[_IOCTL_IN.size :][:in_size]
        response = self._files[handle].ioctl(Call(command, argument, data, out_size))
        if isinstance(response, Done):
            return _IOCTL_OUT.pack(response.result, 0, 0, 0) + response.data
        ranges = b"".join(_IOVEC.pack(r.address, r.length) for r in response.read + response.write)
        return _IOCTL_OUT.pack(0, _RETRY, len(response.read), len(response.write)) + ranges


class Answering(Protocol):
    """A member of a server loop: a device node or a control socket."""

    def fileno(self) -> int:
        """Return the file descriptor for select."""
        ...

    def answer(self) -> None:
        """Receive one request and answer it."""
        ...


def serve(devices: Sequence[Answering]) -> None:
    """Answer for all devices until the process ends."""
    with selectors.DefaultSelector() as selector:
        for device in devices:
            selector.register(device, selectors.EVENT_READ, device)
        while True:
            for key, _ in selector.select():
                key.data.answer()
