from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

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
    assert pauses == sorted(pauses)
    assert len(pauses) == 3


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
