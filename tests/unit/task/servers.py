"""A server of gRPC whose frames a test writes itself."""

from __future__ import annotations

import contextlib
import socket
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

DATA, HEADERS, RESET, SETTINGS, PING, GO_AWAY, WINDOW = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
OK = bytes.fromhex("00 88 9acac8b21234da8f 01 30")
"""grpc-status: 0"""


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """RFC 9113, section 4.1."""
    return (
        len(payload).to_bytes(3, "big") + bytes([kind, flags]) + struct.pack(">I", stream) + payload
    )


def answer(stream: int, message: bytes) -> bytes:
    """What a call gets that succeeds."""
    body = b"\0" + struct.pack(">I", len(message)) + message
    return (
        frame(HEADERS, END_HEADERS, stream, b"\x88")
        + frame(DATA, 0, stream, body)
        + frame(HEADERS, END_HEADERS | END_STREAM, stream, OK)
    )


def refusal(stream: int, code: int, message: str) -> bytes:
    """What a call gets that is refused."""
    name = b"grpc-message"
    block = b"\0" + bytes([11]) + b"grpc-status" + bytes([1]) + str(code).encode()
    block += b"\0" + bytes([len(name)]) + name + bytes([len(message)]) + message.encode()
    return frame(HEADERS, END_HEADERS | END_STREAM, stream, block)


class Peer:
    """The server's end of a connection."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        assert self._read(24) == b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

    def receive(self) -> tuple[int, int, int, bytes]:
        """The next frame: kind, flags, stream, payload."""
        head = self._read(9)
        payload = self._read(int.from_bytes(head[:3], "big"))
        return head[3], head[4], int.from_bytes(head[5:], "big"), payload

    def call(self) -> tuple[int, bytes, bytes]:
        """The next whole call: its stream, its headers, and its message."""
        block, body = b"", b""
        while True:
            kind, flags, stream, payload = self.receive()
            if kind == HEADERS:
                block = payload
            elif kind == DATA:
                body += payload
                if flags & END_STREAM:
                    return stream, block, body[5:]

    def send(self, data: bytes) -> None:
        self.end.sendall(data)

    def _read(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            part = self.end.recv(length - len(data))
            assert part, "the client has gone"
            data += part
        return data


@contextlib.contextmanager
def serving(act: Callable[[Peer], None]) -> Iterator[str]:
    """Serve one connection with `act`; yields the path of the socket."""
    with (
        tempfile.TemporaryDirectory(prefix="grpc-") as folder,
        socket.socket(socket.AF_UNIX) as own,
    ):
        path = str(Path(folder) / "socket")
        own.bind(path)
        own.listen()
        failures: list[BaseException] = []

        def serve() -> None:
            end, _ = own.accept()
            with end:
                try:
                    act(Peer(end))
                except BaseException as error:  # noqa: BLE001  # for the test
                    failures.append(error)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield path
        thread.join(20)
        assert not thread.is_alive()
        if failures:
            raise failures[0]
