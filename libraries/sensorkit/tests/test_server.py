"""The web server and what clients send to it; slow clients are in test_connections.py."""

from __future__ import annotations

import contextlib
import gzip
import socket
from collections.abc import Iterator

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sensorkit.outputs.server import Request, Response, WebServer, _receive

from tests.examples import examples

PAGE = b"<p>" + b"words " * 1000


class Echo:
    """A server that notes the requests which it answers."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.server = WebServer("127.0.0.1", 0, self.respond)

    def respond(self, request: Request) -> Response:
        self.requests.append(request)
        return Response(PAGE, "text/html", cache="no-cache")

    def send(self, sent: bytes) -> bytes:
        """Return everything that the server sends back, to the end of the connection."""
        with socket.create_connection(self.server.address, timeout=10) as client:
            client.sendall(sent)
            received = b""
            with contextlib.suppress(ConnectionResetError):
                while data := client.recv(65536):
                    received += data
            return received


@pytest.fixture
def echo() -> Iterator[Echo]:
    echo = Echo()
    echo.server.start()
    yield echo
    echo.server.stop()


def test_a_request_has_path_query_and_headers(echo: Echo) -> None:
    echo.send(b"POST /a/b?c=d&e HTTP/1.1\r\nHost: pi\r\nAuthorization: Bearer x\r\n\r\n")
    (request,) = echo.requests
    assert (request.method, request.path, request.query) == ("POST", "/a/b", "c=d&e")
    assert request.headers == {"host": "pi", "authorization": "Bearer x"}


def test_one_request_is_answered_and_the_connection_closed(echo: Echo) -> None:
    received = echo.send(b"GET /a HTTP/1.1\r\nHost: pi\r\n\r\n" * 2)
    assert received.count(b"HTTP/1.1 200") == 1
    head, _, body = received.partition(b"\r\n\r\n")
    assert body == PAGE
    lines = head.decode().lower().split("\r\n")
    assert {"connection: close", "cache-control: no-cache", f"content-length: {len(PAGE)}"} <= {
        *lines
    }
    assert len(echo.requests) == 1


def test_a_client_that_can_read_it_gets_a_small_answer(echo: Echo) -> None:
    received = echo.send(b"GET / HTTP/1.1\r\nHost: pi\r\nAccept-Encoding: br, gzip\r\n\r\n")
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"content-encoding: gzip" in head.lower()
    assert len(body) < 200
    assert gzip.decompress(body) == PAGE


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),  # RFC 9112, 3.2: without Host
        (b"GET / HTTP/1.1\r\nHost: pi\r\n bad\r\n: x\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: pi\r\nX: " + b"x" * 20000, b"431"),
        (b"POST / HTTP/1.1\r\nHost: pi\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5000, b"413"),
    ],
)
def test_what_is_no_request_is_refused(echo: Echo, sent: bytes, status: bytes) -> None:
    assert echo.send(sent).startswith(b"HTTP/1.1 " + status)
    assert echo.requests == []


def test_half_a_request_is_none(echo: Echo) -> None:
    with socket.create_connection(echo.server.address, timeout=10) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHo")
        client.shutdown(socket.SHUT_WR)
        client.recv(100)
    assert echo.requests == []


PARTS = st.sampled_from(
    [b"GET / HTTP/1.1\r\n", b"POST /x HTTP/1.0\r\n", b"Host: pi\r\n", b"\r\n", b"\n",
     b"Transfer-Encoding: chunked\r\n", b"Content-Length: 3\r\n", b"ffffffff\r\n", b"0\r\n\r\n"]
)  # fmt: skip


@settings(max_examples=examples(150))
@given(st.lists(PARTS | st.binary(max_size=12), max_size=8).map(b"".join))
def test_any_bytes_are_a_request_or_refused_or_the_end(sent: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(sent)
        theirs.shutdown(socket.SHUT_WR)
        try:
            found = _receive(h11.Connection(h11.SERVER, max_incomplete_event_size=1024), ours)
        except h11.RemoteProtocolError as error:
            assert 400 <= error.error_status_hint < 600
        else:
            assert found is None or found.method.encode() in sent
