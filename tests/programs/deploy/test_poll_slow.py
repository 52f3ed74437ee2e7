"""Servers that send one byte in a while: each is a sign of life to a socket, and no answer."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from piimage_agent import ddi
from piimage_agent.ddi import Server, Trouble
from piimage_agent.updates import Settings

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
LIMIT_S = 1.0


@contextmanager
def dribbling(beginning: bytes) -> Iterator[int]:
    """Run a server that sends `beginning` at once, and then a byte in a tenth of a second."""
    stop = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while not stop.is_set():
                client, _ = listener.accept()
                with contextlib.suppress(OSError), client:
                    client.sendall(beginning)
                    while not stop.wait(0.1):
                        client.sendall(b"1")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        stop.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


@pytest.mark.parametrize(
    ("scheme", "beginning"),
    [
        ("http", HEAD + b"X-Slow: "),
        ("http", HEAD + b"Transfer-Encoding: chunked\r\n\r\n"),
        ("https", b"\x16\x03\x03\x40\x00"),
    ],
    ids=["header", "size of a chunk", "handshake"],
)
def test_no_part_of_an_answer_may_come_byte_by_byte(
    scheme: str, beginning: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_ANSWER_S", "_TIMEOUT_S"):
        monkeypatch.setattr(ddi, name, LIMIT_S)
    with dribbling(beginning) as port:
        server = Server(Settings(f"{scheme}://127.0.0.1:{port}", "t", "pi", "", ""))
        began = time.monotonic()
        with pytest.raises(Trouble, match="too slowly"):
            server.ask("GET", server.base)
        assert time.monotonic() - began < 10 * LIMIT_S
