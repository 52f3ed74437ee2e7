"""The kernel's side of CUSE, played over a socket with the structures of linux/fuse.h."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator

import pytest
from chipmodels.cuse import Call, CuseDevice, Done, Need, Range, serve

OPEN, READ, WRITE, RELEASE, FLUSH, INTERRUPT, IOCTL, CUSE_INIT = 14, 15, 16, 18, 25, 36, 39, 4096


class File:
    """An open file that notes what it is asked."""

    def __init__(self) -> None:
        self.seen: list[object] = []

    def read(self, length: int) -> bytes:
        self.seen.append(("read", length))
        if length == 13:
            raise OSError(errno.EREMOTEIO, "no chip")
        if length == 14:
            raise OSError("without a number")
        return bytes(length)

    def write(self, data: bytes) -> None:
        self.seen.append(("write", data))

    def ioctl(self, call: Call) -> Need | Done:
        self.seen.append(call)
        if call.command == 1:
            return Done(b"data", 5)
        return Need((Range(0x100, 4), Range(0x200, 8)), (Range(0x300, 16),))


class Node:
    name = "i2c-7"

    def __init__(self) -> None:
        self.files: list[File] = []

    def open(self) -> File:
        self.files.append(File())
        return self.files[-1]


class Kernel:
    """The other end of /dev/cuse."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.end, device = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        opened: list[tuple[object, int]] = []

        def open_(path: object, flags: int) -> int:
            opened.append((path, flags))
            return device.detach()

        self.node = Node()
        with monkeypatch.context() as patch:
            patch.setattr(os, "open", open_)
            self.device = CuseDevice(self.node)
        assert opened == [("/dev/cuse", os.O_RDWR | os.O_CLOEXEC)]

    def ask(self, opcode: int, body: bytes = b"") -> tuple[int, bytes]:
        """The errno and the body of the answer to request 9."""
        self.send(opcode, body)
        self.device.answer()
        answer = self.end.recv(1 << 20)
        length, error, unique = struct.unpack_from("<IiQ", answer)
        assert (length, unique) == (len(answer), 9)
        return error, answer[16:]

    def send(self, opcode: int, body: bytes) -> None:
        size = 40 + len(body)
        self.end.send(struct.pack("<IIQQIIIHH", size, opcode, 9, 0, 0, 0, 1, 0, 0) + body)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    kernel = Kernel(monkeypatch)
    yield kernel
    kernel.end.close()


def test_the_first_request_names_the_device(kernel: Kernel) -> None:
    """struct cuse_init_out: version, CUSE_UNRESTRICTED_IOCTL, sizes, no number, ten spares."""
    error, body = kernel.ask(CUSE_INIT, struct.pack("<IIII", 7, 38, 0, 1))
    assert error == 0
    assert body[:72] == struct.pack("<8I", 7, 38, 0, 1, 65536, 65536, 0, 0) + bytes(40)
    assert body[72:] == b"DEVNAME=i2c-7\0"


def test_each_opening_has_its_own_file(kernel: Kernel) -> None:
    for handle in (1, 2):
        assert kernel.ask(OPEN, bytes(8)) == (0, struct.pack("<QII", handle, 0, 0))
    kernel.ask(READ, struct.pack("<QQIIQII", 2, 0, 3, 0, 0, 0, 0))
    assert [file.seen for file in kernel.node.files] == [[], [("read", 3)]]


def test_reads_and_writes_reach_the_file(kernel: Kernel) -> None:
    kernel.ask(OPEN, bytes(8))
    assert kernel.ask(READ, struct.pack("<QQIIQII", 1, 0, 3, 0, 0, 0, 0)) == (0, bytes(3))
    written = struct.pack("<QQIIQII", 1, 0, 2, 0, 0, 0, 0) + b"abc"
    assert kernel.ask(WRITE, written) == (0, struct.pack("<II", 2, 0))
    assert kernel.node.files[0].seen == [("read", 3), ("write", b"ab")]


def test_what_a_file_refuses_is_an_errno(kernel: Kernel) -> None:
    kernel.ask(OPEN, bytes(8))
    for length, number in ((13, errno.EREMOTEIO), (14, errno.EIO)):
        request = struct.pack("<QQIIQII", 1, 0, length, 0, 0, 0, 0)
        assert kernel.ask(READ, request) == (-number, b"")
    assert kernel.ask(40) == (-errno.ENOSYS, b"")


def test_an_ioctl_has_its_result_or_names_the_memory_that_it_needs(kernel: Kernel) -> None:
    kernel.ask(OPEN, bytes(8))
    request = struct.pack("<QIIQII", 1, 0, 1, 0x1234, 2, 6) + b"abc"
    assert kernel.ask(IOCTL, request) == (0, struct.pack("<iIII", 5, 0, 0, 0) + b"data")
    assert kernel.node.files[0].seen == [Call(1, 0x1234, b"ab", 6)]
    retry = struct.pack("<iIII6Q", 0, 4, 2, 1, 0x100, 4, 0x200, 8, 0x300, 16)
    assert kernel.ask(IOCTL, struct.pack("<QIIQII", 1, 0, 2, 0, 0, 0)) == (0, retry)


def test_the_last_close_forgets_the_file(kernel: Kernel) -> None:
    kernel.ask(OPEN, bytes(8))
    handle = struct.pack("<QQII", 1, 0, 0, 0)
    assert kernel.ask(FLUSH, handle) == (0, b"")
    kernel.ask(READ, struct.pack("<QQIIQII", 1, 0, 1, 0, 0, 0, 0))
    assert kernel.ask(RELEASE, handle) == (0, b"")
    assert kernel.ask(RELEASE, handle) == (0, b"")
    with pytest.raises(KeyError):
        kernel.ask(READ, struct.pack("<QQIIQII", 1, 0, 1, 0, 0, 0, 0))


def test_an_interrupt_is_not_answered(kernel: Kernel) -> None:
    kernel.send(INTERRUPT, bytes(8))
    kernel.device.answer()
    assert kernel.ask(OPEN, bytes(8))[0] == 0


def test_a_whole_transfer_is_read_at_once(kernel: Kernel) -> None:
    kernel.ask(OPEN, bytes(8))
    written = struct.pack("<QQIIQII", 1, 0, 65536, 0, 0, 0, 0) + bytes(65536)
    assert kernel.ask(WRITE, written) == (0, struct.pack("<II", 65536, 0))
    assert kernel.node.files[0].seen == [("write", bytes(65536))]


def test_closing_removes_the_node(kernel: Kernel) -> None:
    assert os.fstat(kernel.device.fileno())
    kernel.device.close()
    with pytest.raises(OSError):
        os.fstat(kernel.device.fileno())


@pytest.mark.parametrize(
    ("data", "out_size", "has"), [(12, 16, True), (11, 16, False), (12, 15, False), (13, 16, False)]
)
def test_a_request_has_all_that_is_needed_or_not(data: int, out_size: int, has: bool) -> None:
    need = Need((Range(0x100, 4), Range(0x200, 8)), (Range(0x300, 16),))
    assert Call(2, 0, bytes(data), out_size).has(need) is has


def test_the_server_answers_whoever_is_asked() -> None:
    class Channel:
        def __init__(self) -> None:
            self.client, self.end = socket.socketpair()
            self.answered: list[bytes] = []

        def fileno(self) -> int:
            return self.end.fileno()

        def answer(self) -> None:
            self.answered.append(self.end.recv(1))
            if self.answered == [b"a", b"z"]:
                raise InterruptedError

    first, other = Channel(), Channel()
    other.client.send(b"b")
    first.client.send(b"a")
    first.client.send(b"z")
    with pytest.raises(InterruptedError):
        serve([first, other])
    assert other.answered == [b"b"]
