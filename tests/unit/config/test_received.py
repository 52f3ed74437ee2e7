"""Files from a server, over HTTP and HTTPS, and from standard input."""

from __future__ import annotations

import hashlib
import io
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from piimage.config.received import Given, received
from piimage.document.nodes import MAX_BYTES
from piimage.errors import ErrorGroup, InputError
from piimage.store import Store

YAML = b"board: qemu-virt\nservices:\n  - { name: hello, use: hello_world }\n"
PIN = f"#sha256={hashlib.sha256(YAML).hexdigest()}"


class Handler(BaseHTTPRequestHandler):
    pages: ClassVar[dict[str, bytes | str]]

    def do_GET(self) -> None:
        page = self.pages.get(self.path)
        if isinstance(page, str):
            self.send_response(302)
            self.send_header("Location", page)
            self.end_headers()
            return
        self.send_response(200 if page is not None else 404)
        self.end_headers()
        self.wfile.write(page or b"")

    def log_message(self, format: str, *args: object) -> None:
        return


@dataclass
class Site:
    """A server; `pages` are texts, or the places to which it redirects."""

    url: str
    pages: dict[str, bytes | str] = field(default_factory=lambda: {"/a/shed.yml": YAML})


def serving(context: ssl.SSLContext | None) -> Iterator[Site]:
    site = Site("")
    handler = type("Pages", (Handler,), {"pages": site.pages})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        site.url = f"{'https' if context else 'http'}://localhost:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield site
        server.shutdown()
        thread.join()


@pytest.fixture
def plain() -> Iterator[Site]:
    yield from serving(None)


@pytest.fixture
def secure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    yield from serving(context)


Receive = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "work"
    made.mkdir()
    return made


@pytest.fixture
def receive(folder: Path, store: Store) -> Receive:
    def call(source: str, stdin: bytes = b"", **given: object) -> Path:
        (path,) = received([source], Given(**given), store, io.BytesIO(stdin), folder)  # type: ignore[arg-type]
        return path

    return call


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(InputError) as caught:
        call()
    return caught.value.code


def test_files_stay_what_they_are(store: Store, folder: Path) -> None:
    paths = received(["a.yml", "b/c.yml"], Given(), store, io.BytesIO(), folder)
    assert paths == (Path("a.yml"), Path("b/c.yml"))
    assert list(folder.iterdir()) == []


def test_standard_input_is_kept_under_its_name(receive: Receive, folder: Path) -> None:
    assert receive("-", YAML) == folder / "stdin.yml"
    assert receive("-", YAML, name="shed") == folder / "shed.yml"
    assert (folder / "shed.yml").read_bytes() == YAML
    # It is the user's own text, so it may name files beside it.
    assert receive("-", b"files: [{ path: a, source: b }]\n") == folder / "stdin.yml"


def test_a_file_is_fetched_over_https_and_kept_under_the_last_part_of_its_url(
    secure: Site, receive: Receive, folder: Path
) -> None:
    assert receive(f"{secure.url}/a/shed.yml") == folder / "shed.yml"
    assert (folder / "shed.yml").read_bytes() == YAML
    secure.pages["/a/get?file=shed"] = YAML
    assert receive(f"{secure.url}/a/get?file=shed", name="other") == folder / "other.yml"


@pytest.mark.provokes("received.fetch")
def test_a_server_that_nobody_vouches_for_is_refused(
    secure: Site, receive: Receive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(InputError, match="certificate"):
        receive(f"{secure.url}/a/shed.yml")


@pytest.mark.provokes("received.fetch")
def test_what_is_not_there_is_reported_without_the_password(
    secure: Site, receive: Receive, folder: Path
) -> None:
    with pytest.raises(InputError, match="404") as caught:
        receive(f"{secure.url}/none.yml")
    assert caught.value.code == "received.fetch"
    url = secure.url.replace("https://", "https://me:s3cret@")
    with pytest.raises(InputError) as named:
        receive(f"{url}/none.yml")
    assert "s3cret" not in str(named.value)
    assert list(folder.iterdir()) == []


@pytest.mark.provokes("received.fetch")
def test_https_does_not_become_http_on_the_way(
    secure: Site, plain: Site, receive: Receive, folder: Path
) -> None:
    secure.pages["/moved.yml"] = f"{secure.url}/a/shed.yml"
    assert receive(f"{secure.url}/moved.yml") == folder / "moved.yml"
    secure.pages["/away.yml"] = f"{plain.url}/a/shed.yml"
    with pytest.raises(InputError, match="redirects from https to http"):
        receive(f"{secure.url}/away.yml")


@pytest.mark.provokes("received.digest", "received.address")
def test_plain_http_needs_the_digest(plain: Site, receive: Receive, folder: Path) -> None:
    url = f"{plain.url}/a/shed.yml"
    assert code_of(lambda: receive(url)) == "received.address"
    assert receive(url + PIN) == folder / "shed.yml"
    plain.pages["/a/shed.yml"] = YAML + b"# more\n"
    assert code_of(lambda: receive(url + PIN)) == "received.digest"
    assert (folder / "shed.yml").read_bytes() == YAML


@pytest.mark.provokes("received.address")
@pytest.mark.parametrize(
    "source",
    ["ftp://host/a.yml", "file:///etc/passwd", "https:///a.yml", "https://host/a.yml#sha256=1"],
)
def test_what_is_no_url_of_a_file_is_refused(receive: Receive, source: str) -> None:
    assert code_of(lambda: receive(source)) == "received.address"


@pytest.mark.provokes("received.address")
def test_standard_input_is_read_once(store: Store, folder: Path) -> None:
    two = ["-", "-"]
    assert code_of(lambda: received(two, Given(), store, io.BytesIO(), folder)) == (
        "received.address"
    )


@pytest.mark.provokes("received.too-big")
def test_more_than_a_file_may_have_is_not_read(plain: Site, receive: Receive) -> None:
    big = b"#" * (MAX_BYTES + 1)
    assert code_of(lambda: receive("-", big)) == "received.too-big"
    plain.pages["/big.yml"] = big
    digest = hashlib.sha256(big).hexdigest()
    assert code_of(lambda: receive(f"{plain.url}/big.yml#sha256={digest}")) == "received.too-big"


@pytest.mark.provokes("received.name")
@pytest.mark.parametrize("name", ["", "a/b", "..", "-x", "ü"])
def test_a_name_that_is_no_file_name_is_refused(receive: Receive, name: str) -> None:
    assert code_of(lambda: receive("-", YAML, name=name)) == "received.name"


@pytest.mark.provokes("received.name")
def test_a_url_without_a_file_name_needs_one(receive: Receive) -> None:
    assert code_of(lambda: receive("https://host.test/")) == "received.name"


@pytest.mark.provokes("received.name")
def test_the_name_of_several_is_none_of_theirs(plain: Site, store: Store, folder: Path) -> None:
    sources = ["base.yml", f"{plain.url}/a/shed.yml{PIN}", "-"]
    paths = received(sources, Given(name="all"), store, io.BytesIO(b"a: 1\n"), folder)
    assert paths == (Path("base.yml"), folder / "shed.yml", folder / "stdin.yml")
    wrong = Given(name="a/b")
    assert code_of(lambda: received(["a.yml"], wrong, store, io.BytesIO(), folder)) == (
        "received.name"
    )


@pytest.mark.provokes("received.local")
def test_a_file_from_a_url_takes_nothing_from_this_machine(
    plain: Site, receive: Receive, folder: Path
) -> None:
    text = b"""variables: [TOKEN, GIVEN]
board: qemu-virt
ssh: { authorized_keys: [~/.ssh/id_ed25519.pub, "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI me"] }
services:
  - { name: a, build: ., seccomp: default }
  - { name: b, image: "@pkg:./b" }
files:
  - { path: etc/key, source: /root/.ssh/id_ed25519 }
"""
    plain.pages["/bad.yml"] = text
    pin = f"#sha256={hashlib.sha256(text).hexdigest()}"
    with pytest.raises(ErrorGroup) as caught:
        receive(f"{plain.url}/bad.yml{pin}", sets=["GIVEN=1"])
    assert {error.code for error in caught.value.errors} == {"received.local"}
    lines = {(error.place or "").split(":")[1] for error in caught.value.errors}
    assert lines == {"1", "3", "5", "6", "8"}
    messages = " ".join(error.message for error in caught.value.errors)
    assert "(TOKEN)" in messages
    assert "GIVEN" not in messages
    assert "AAAA" not in messages
    assert list(folder.iterdir()) == []


@pytest.mark.provokes("received.kept")
def test_a_kept_file_is_replaced_unless_somebody_has_changed_it(
    receive: Receive, folder: Path
) -> None:
    kept = receive("-", YAML)
    receive("-", YAML + b"# two\n")
    assert kept.read_bytes() == YAML + b"# two\n"
    kept.write_bytes(YAML + b"# mine\n")
    assert code_of(lambda: receive("-", YAML)) == "received.kept"
    assert kept.read_bytes() == YAML + b"# mine\n"
    assert receive("-", YAML + b"# mine\n") == kept  # the same text is no conflict


def test_the_same_text_leaves_the_file_as_it_is(receive: Receive) -> None:
    before = receive("-", YAML).stat()
    after = receive("-", YAML).stat()
    # A new file would make the build run again.
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
