from __future__ import annotations

import base64
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from piimage.debian.transport import Absent, Transport
from piimage.errors import PiimageError

DATA = bytes(range(256)) * 4096

Answer = Callable[[BaseHTTPRequestHandler], None]


class Server(ThreadingHTTPServer):
    daemon_threads = True
    answer: Answer
    paths: list[str]
    connections: int = 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        self.server.answer(self)

    def do_CONNECT(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:
        return


def send(handler: BaseHTTPRequestHandler, status: int, data: bytes = b"", **headers: str) -> None:
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(data)))
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(data)


@contextmanager
def serving(answer: Answer) -> Iterator[tuple[Server, str]]:
    server = Server(("127.0.0.1", 0), Handler)
    server.answer = answer
    server.paths = []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server, f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def client(pauses: list[float] | None = None) -> Transport:
    return Transport(pause=(pauses if pauses is not None else []).append, proxies={})


def test_several_files_are_fetched_over_one_connection() -> None:
    with serving(lambda handler: send(handler, 200, DATA)) as (server, host):
        transport = client()
        assert transport.read(f"http://{host}/a", len(DATA)) == DATA
        assert transport.read(f"http://{host}/b?c", len(DATA)) == DATA
        transport.close()
    assert server.paths == ["/a", "/b?c"]
    assert server.connections == 1


def test_a_broken_download_is_resumed() -> None:
    ranges: list[str | None] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        requested = handler.headers["Range"]
        ranges.append(requested)
        if requested is None:
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(DATA)))
            handler.end_headers()
            handler.wfile.write(DATA[:300_000])
            handler.close_connection = True
        else:
            start = int(requested.removeprefix("bytes=").removesuffix("-"))
            send(handler, 206, DATA[start:])

    pauses: list[float] = []
    with serving(answer) as (_, host):
        assert b"".join(client(pauses).chunks(f"http://{host}/x")) == DATA
    assert ranges == [None, "bytes=300000-"]
    assert len(pauses) == 1


def test_a_server_that_cannot_resume_sends_the_whole_file_again() -> None:
    calls: list[int] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        calls.append(1)
        part = DATA[:300_000] if len(calls) == 1 else DATA
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(DATA)))
        handler.end_headers()
        handler.wfile.write(part)
        handler.close_connection = True

    with serving(answer) as (_, host):
        assert b"".join(client().chunks(f"http://{host}/x")) == DATA


def test_a_temporary_failure_is_retried_after_growing_pauses() -> None:
    calls: list[int] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        calls.append(1)
        send(handler, 200 if len(calls) == 4 else 503, b"ok")

    pauses: list[float] = []
    with serving(answer) as (_, host):
        assert client(pauses).read(f"http://{host}/x", 10) == b"ok"
    assert len(pauses) == 3


@pytest.mark.provokes("debian.unreachable")
@pytest.mark.parametrize(
    ("chance", "expected"), [(0.0, [0.5, 1.0, 2.0, 4.0]), (1.0, [0.625, 1.25, 2.5, 5.0])]
)
def test_pauses_double_and_differ_by_up_to_a_quarter(
    monkeypatch: pytest.MonkeyPatch, chance: float, expected: list[float]
) -> None:
    """So that many clients do not come back at the same moment."""
    monkeypatch.setattr(random, "random", lambda: chance)
    pauses: list[float] = []
    with (
        serving(lambda handler: send(handler, 503)) as (server, host),
        pytest.raises(PiimageError, match="503"),
    ):
        client(pauses).read(f"http://{host}/x", 10)
    assert pauses == expected
    assert len(server.paths) == 5


def test_a_download_that_goes_on_is_not_given_up() -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        start = int((handler.headers["Range"] or "bytes=0-").removeprefix("bytes=")[:-1])
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Length", str(1000 - start))
        handler.end_headers()
        handler.wfile.write(DATA[start : start + 100])
        handler.close_connection = True

    with serving(answer) as (server, host):
        assert client().read(f"http://{host}/x", 1000) == DATA[:1000]
    assert len(server.paths) == 10


@pytest.mark.provokes("debian.unreachable")
def test_which_answers_are_worth_another_attempt() -> None:
    """RFC 9110, section 15, and 425 of RFC 8470, 429 of RFC 6585."""
    answered: set[int] = set()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        status = int(handler.path[1:])
        send(handler, 200 if status in answered else status, b"ok")
        answered.add(status)

    with serving(answer) as (_, host):
        for status in (408, 425, 429, 500, 502, 503, 504):
            assert client().read(f"http://{host}/{status}", 10) == b"ok"
        for status in (300, 304, 306, 309, 400, 401, 402, 403, 405, 407, 409, 424, 426, 428, 501,
                       505):  # fmt: skip
            with pytest.raises(PiimageError, match=f"{status}"):
                client().read(f"http://{host}/{status}", 10)


def test_which_answers_lead_elsewhere() -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        if handler.path == "/there":
            send(handler, 200, b"ok")
        else:
            send(handler, int(handler.path[1:]), Location="/there")

    with serving(answer) as (_, host):
        for status in (301, 302, 303, 307, 308):
            assert client().read(f"http://{host}/{status}", 10) == b"ok"


@pytest.mark.parametrize(("redirections", "followed"), [(4, True), (5, False)])
def test_four_redirections_are_followed(redirections: int, followed: bool) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        left = int(handler.path[1:])
        if left:
            send(handler, 302, b"moved", Location=f"/{left - 1}")
        else:
            send(handler, 200, b"ok")

    with serving(answer) as (server, host):
        if followed:
            assert client().read(f"http://{host}/{redirections}", 10) == b"ok"
        else:
            with pytest.raises(PiimageError, match="too many redirections"):
                client().read(f"http://{host}/{redirections}", 10)
    assert len(server.paths) == 5
    assert server.connections == 1


def test_a_kept_connection_that_the_server_closed_is_no_failure() -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        send(handler, 200, b"ok")
        handler.close_connection = True  # without a word of it

    pauses: list[float] = []
    transport = client(pauses)
    with serving(answer) as (server, host):
        for _ in range(3):
            assert transport.read(f"http://{host}/x", 10) == b"ok"
    assert pauses == []
    assert server.connections == 3


def test_a_new_connection_that_breaks_is_a_failure() -> None:
    calls: list[int] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        calls.append(1)
        handler.close_connection = True
        if len(calls) == 3:
            send(handler, 200, b"ok")

    pauses: list[float] = []
    with serving(answer) as (_, host):
        assert client(pauses).read(f"http://{host}/x", 10) == b"ok"
    assert len(pauses) == 2


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("proxies", [{}, {"http": "http://p:1", "https": "http://p:1"}])
def test_a_silent_server_is_left_after_half_a_minute(scheme: str, proxies: dict[str, str]) -> None:
    transport = Transport(proxies=proxies)
    parts = urlsplit(f"{scheme}://a.example/x")
    assert transport._connection(parts, transport._proxy(parts)).timeout == 30


@pytest.mark.provokes("debian.unreachable")
@pytest.mark.parametrize(("port", "target"), [("", "443"), (":8443", "8443")])
def test_a_proxy_makes_a_tunnel_for_https_and_gets_its_own_password(port: str, target: str) -> None:
    seen: list[tuple[str, str | None, str | None]] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        words = (handler.headers["Proxy-Authorization"], handler.headers["Authorization"])
        seen.append((handler.path, *words))
        send(handler, 403)

    with serving(answer) as (_, host), pytest.raises(PiimageError, match="403"):
        transport = Transport(lambda _: None, {"https": f"http://me:s%3Acret@{host}"})
        transport.read(f"https://you:other@archive.example{port}/x", 10)
    password = "Basic " + base64.b64encode(b"me:s:cret").decode()
    assert set(seen) == {(f"archive.example:{target}", password, None)}


def test_a_proxy_is_named_without_a_scheme_and_spared_where_the_user_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    passwords: list[str | None] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        passwords.append(handler.headers["Proxy-Authorization"])
        send(handler, 200, b"ok")

    with serving(answer) as (server, host):
        transport = Transport(proxies={"http": f"me:secret@{host}"})
        transport.read("http://you:other@archive.example/debian/x?y", 10)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        transport.read(f"http://{host}/z", 10)
    assert server.paths == ["http://archive.example/debian/x?y", "/z"]
    assert passwords == ["Basic " + base64.b64encode(b"me:secret").decode(), None]


def test_a_local_file_is_read_from_where_it_broke_off(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(DATA)
    assert b"".join(client()._attempt(f"file://{tmp_path}/x", 300_000)) == DATA[300_000:]


@pytest.mark.provokes("debian.unreachable")
def test_a_permanent_failure_names_the_url_without_the_password() -> None:
    pauses: list[float] = []
    with (
        serving(lambda handler: send(handler, 500)) as (_, host),
        pytest.raises(PiimageError, match="500") as caught,
    ):
        client(pauses).read(f"http://me:secret@{host}/x", 10)
    assert len(pauses) == 4
    assert "secret" not in str(caught.value)
    assert host in str(caught.value)


@pytest.mark.provokes("debian.unreachable")
def test_a_host_that_does_not_answer_is_an_error() -> None:
    with pytest.raises(PiimageError, match="cannot be fetched"):
        client().read("http://127.0.0.1:1/x", 10)


@pytest.mark.provokes("debian.unreachable")
def test_a_refusal_is_not_retried() -> None:
    pauses: list[float] = []
    with (
        serving(lambda handler: send(handler, 403)) as (_, host),
        pytest.raises(PiimageError, match="403"),
    ):
        client(pauses).read(f"http://{host}/x", 10)
    assert pauses == []


@pytest.mark.provokes("debian.not-found")
@pytest.mark.parametrize("status", [404, 410])
def test_a_missing_file_is_an_error_of_its_own(status: int) -> None:
    with (
        serving(lambda handler: send(handler, status)) as (_, host),
        pytest.raises(Absent, match=str(status)),
    ):
        client().read(f"http://{host}/x", 10)


@pytest.mark.provokes("debian.too-big")
def test_more_than_the_maximum_is_refused() -> None:
    with (
        serving(lambda handler: send(handler, 200, DATA)) as (_, host),
        pytest.raises(PiimageError, match="more than 1000 bytes"),
    ):
        client().read(f"http://{host}/x", 1000)


def test_user_and_password_are_sent_but_not_in_the_request_line() -> None:
    authorizations: list[str | None] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        authorizations.append(handler.headers["Authorization"])
        send(handler, 200, b"ok")

    with serving(answer) as (server, host):
        client().read(f"http://me:s%3Acret@{host}/x", 10)
    assert authorizations == ["Basic " + base64.b64encode(b"me:s:cret").decode()]
    assert server.paths == ["/x"]


def test_a_redirection_is_followed_without_the_password() -> None:
    requests: list[tuple[str, str | None]] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        requests.append((handler.path, handler.headers["Authorization"]))
        if handler.path == "/x":
            other = f"http://localhost:{handler.server.server_port}/y"  # type: ignore[attr-defined]
            send(handler, 302, b"moved", Location=other)
        else:
            send(handler, 200, b"ok")

    with serving(answer) as (_, host):
        assert client().read(f"http://me:secret@{host}/x", 10) == b"ok"
    assert [path for path, _ in requests] == ["/x", "/y"]
    assert requests[1][1] is None


@pytest.mark.provokes("debian.unreachable")
@pytest.mark.parametrize("target", ["/x", "file:///etc/passwd"])
def test_an_endless_redirection_or_one_to_a_file_is_refused(target: str) -> None:
    with (
        serving(lambda handler: send(handler, 301, Location=target)) as (_, host),
        pytest.raises(PiimageError, match="redirect"),
    ):
        client().read(f"http://{host}/x", 10)


def test_a_request_to_a_proxy_has_the_full_url() -> None:
    with serving(lambda handler: send(handler, 200, b"ok")) as (server, host):
        transport = Transport(proxies={"http": f"http://{host}"})
        assert transport.read("http://archive.example/debian/x", 10) == b"ok"
    assert server.paths == ["http://archive.example/debian/x"]


@pytest.mark.provokes("debian.not-found")
def test_a_folder_can_be_a_mirror(tmp_path: Path) -> None:
    (tmp_path / "a b").write_bytes(DATA)
    assert client().read(f"file://{tmp_path}/a%20b", len(DATA)) == DATA
    with pytest.raises(Absent):
        client().read(f"file://{tmp_path}/c", 10)
