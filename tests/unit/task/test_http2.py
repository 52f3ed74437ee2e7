"""Calls over HTTP/2, with a server whose frames are written here."""

from __future__ import annotations

import struct

import pytest
from piimage_task.http2 import CallError, Connection

from tests.unit.task.servers import (
    ACK,
    DATA,
    END_STREAM,
    GO_AWAY,
    HEADERS,
    PING,
    RESET,
    SETTINGS,
    WINDOW,
    Peer,
    answer,
    frame,
    refusal,
    serving,
)

METHOD = "/a.Service/Method"


def call(path: str, request: bytes = b"request") -> bytes:
    connection = Connection(path, "somewhere", 10)
    try:
        return connection.call(METHOD, request)
    finally:
        connection.close()


def test_a_call_sends_its_headers_and_message_and_returns_the_answer() -> None:
    def act(peer: Peer) -> None:
        stream, block, message = peer.call()
        assert (stream, message) == (1, b"request")
        for text in (b"POST", METHOD.encode(), b"application/grpc", b"trailers", b"somewhere"):
            assert text in block
        peer.send(answer(stream, b"answer"))

    with serving(act) as path:
        assert call(path) == b"answer"


def test_an_answer_without_fields_is_empty() -> None:
    def act(peer: Peer) -> None:
        peer.send(answer(peer.call()[0], b""))

    with serving(act) as path:
        assert call(path) == b""


def test_calls_follow_one_another_on_streams_of_their_own() -> None:
    def act(peer: Peer) -> None:
        for number in (1, 3):
            stream, _, message = peer.call()
            assert stream == number
            peer.send(answer(stream, message[::-1]))

    with serving(act) as path:
        connection = Connection(path, "x", 10)
        assert [connection.call(METHOD, text) for text in (b"one", b"two")] == [b"eno", b"owt"]
        connection.close()


def test_a_refused_call_has_the_servers_code_and_message() -> None:
    def act(peer: Peer) -> None:
        peer.send(refusal(peer.call()[0], 5, 'no "x": 100%25 %C3%A4'))

    with serving(act) as path, pytest.raises(CallError) as caught:
        call(path)
    assert (caught.value.code, caught.value.message) == (5, 'no "x": 100% ä')


def test_a_long_message_waits_for_the_room_that_the_server_gives() -> None:
    """RFC 9113, section 6.9: at first 65,535 bytes for the connection and for each stream."""
    request = bytes(range(256)) * 400

    def act(peer: Peer) -> None:
        body = b""
        while len(body) < 65_535:
            kind, _, _, payload = peer.receive()
            body += payload if kind == DATA else b""
        assert len(body) == 65_535
        more = struct.pack(">I", 50_000)
        peer.send(frame(WINDOW, 0, 1, more) + frame(WINDOW, 0, 0, more))
        while True:
            kind, flags, _, payload = peer.receive()
            assert len(payload) <= 16_384
            body += payload if kind == DATA else b""
            if kind == DATA and flags & END_STREAM:
                break
        assert body[5:] == request
        peer.send(answer(1, b"done"))

    with serving(act) as path:
        assert call(path, request) == b"done"


def test_a_server_may_allow_more_for_each_stream() -> None:
    def act(peer: Peer) -> None:
        peer.send(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 200_000)))
        peer.send(frame(WINDOW, 0, 0, struct.pack(">I", 200_000)))
        assert len(peer.call()[2]) == 150_000
        peer.send(answer(1, b"done"))

    with serving(act) as path:
        assert call(path, bytes(150_000)) == b"done"


def test_what_the_server_says_of_the_connection_is_answered() -> None:
    def act(peer: Peer) -> None:
        stream, _, _ = peer.call()
        peer.send(frame(SETTINGS, 0, 0, b"") + frame(PING, 0, 0, b"12345678"))
        peer.send(frame(HEADERS, 5, 99, b"") + answer(stream, b"answer"))
        assert peer.receive() == (SETTINGS, ACK, 0, b"")
        assert peer.receive() == (PING, ACK, 0, b"12345678")

    with serving(act) as path:
        assert call(path) == b"answer"


@pytest.mark.parametrize(
    ("kind", "stream", "error"),
    [(RESET, 1, CallError), (GO_AWAY, 0, OSError), (None, 0, OSError)],
    ids=["reset", "go away", "closed"],
)
def test_a_call_that_is_broken_off_fails(
    kind: int | None, stream: int, error: type[Exception]
) -> None:
    def act(peer: Peer) -> None:
        peer.call()
        if kind is not None:
            peer.send(frame(kind, 0, stream, bytes(8)))

    with serving(act) as path, pytest.raises(error):
        call(path)


def test_a_server_that_does_not_answer_is_not_waited_for_for_ever() -> None:
    def act(peer: Peer) -> None:
        peer.call()
        with pytest.raises(AssertionError, match="the client has gone"):
            peer.receive()

    with serving(act) as path:
        connection = Connection(path, "x", 1)
        with pytest.raises(OSError, match="timed out"):
            connection.call(METHOD, b"")
        connection.close()
