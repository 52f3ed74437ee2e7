"""Connections to the web server, and a hundred slow clients."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from sensorkit.outputs.connections import Connections
from sensorkit.outputs.server import Response, WebServer, answering


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Door:
    """Connections as pairs of sockets, and whether the client was cut off."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.connections = Connections(10, self.clock)
        self.clients: list[socket.socket] = []
        self.held: list[socket.socket] = []

    def enter(self, client: str) -> socket.socket:
        mine, other = socket.socketpair()
        other.setblocking(False)
        self.clients.append(other)
        self.held.append(mine)
        self.connections.admit(mine, client)
        return mine

    def cut(self) -> list[int]:
        """The numbers of the clients that were cut off, in their order."""
        return [number for number, client in enumerate(self.clients) if _is_cut(client)]


def _is_cut(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False


@pytest.fixture
def door() -> Door:
    return Door()


def test_eight_from_outside_hold_a_connection_each(door: Door) -> None:
    for number in range(8):
        door.enter(f"192.168.1.{number + 1}")
    assert door.cut() == []


def test_one_more_takes_the_place_of_the_oldest(door: Door) -> None:
    for number in range(9):
        door.enter(f"192.168.1.{number + 1}")
    assert door.cut() == [0]


def test_the_client_that_has_the_most_makes_room(door: Door) -> None:
    door.enter("192.168.1.1")
    for _ in range(20):
        door.enter("192.168.1.66")
    assert door.cut() == list(range(1, 14))


def test_nobody_outside_takes_the_room_of_the_health_check(door: Door) -> None:
    door.enter("127.0.0.1")
    door.enter("::1")
    for _ in range(100):
        door.enter("fe80::1%eth0")
    assert 0 not in door.cut()
    assert 1 not in door.cut()
    assert len(door.connections) == 10


def test_a_local_program_that_hangs_makes_room_for_the_health_check(door: Door) -> None:
    for _ in range(5):
        door.enter("127.0.0.1")
    assert door.cut() == [0]


def test_after_ten_seconds_a_connection_ends_whatever_it_does(door: Door) -> None:
    door.enter("192.168.1.1")
    door.clock.now += 9.9
    door.connections.end_overdue()
    assert door.cut() == []
    door.clock.now += 0.1
    door.connections.end_overdue()
    assert door.cut() == [0]


def test_who_has_left_takes_no_room(door: Door) -> None:
    for number in range(8):
        door.connections.leave(door.enter(f"192.168.1.{number + 1}"))
    door.enter("192.168.1.9")
    assert door.cut() == []


# The server itself -----------------------------------------------------------------------------

BIG = Response(b"x" * 8_000_000, "text/plain")
PATHS = {"/healthz": lambda: Response(b"{}"), "/big": lambda: BIG}


@pytest.fixture
def server() -> Iterator[WebServer]:
    server = WebServer("127.0.0.1", 0, answering(PATHS), seconds=30)
    server.start()
    yield server
    server.stop()


def health(port: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    "sent", [b"", b"GET /healthz HTTP/1.0\r\nX-Slow: ", b"GET /big HTTP/1.0\r\n\r\n"]
)
def test_a_hundred_slow_clients_do_not_hold_up_the_health_check(
    server: WebServer, sent: bytes
) -> None:
    """They send nothing, or half a request, or do not read the response."""
    with ExitStack() as held:
        for _ in range(100):
            slow = held.enter_context(socket.create_connection(server.address, timeout=5))
            slow.sendall(sent)
        assert [health(server.address[1]) for _ in range(5)] == [200] * 5


def test_a_client_that_says_a_little_now_and_then_has_no_more_time_than_others() -> None:
    server = WebServer("127.0.0.1", 0, answering(PATHS), seconds=0.2)
    server.start()
    try:
        with socket.create_connection(server.address, timeout=0.05) as slow:
            assert _drops(slow) < 100
    finally:
        server.stop()


def _drops(slow: socket.socket) -> int:
    """Return how many bytes the server accepts, one each twentieth of a second."""
    for count in range(100):
        try:
            slow.sendall(b"x")
            if slow.recv(1) == b"":
                return count
        except TimeoutError:
            continue
        except OSError:
            return count
    return 100
