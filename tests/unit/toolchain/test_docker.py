from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from piimage.errors import PiimageError
from piimage.run import Runner
from piimage.steps import Builder
from piimage.store import Store
from piimage.toolchain.docker import DockerBuild, recipe
from piimage.toolchain.roots import TOOLS
from piimage.toolchain.steps import Compiled

from .fakes import tools


class FullEngine(BaseHTTPRequestHandler):
    """An engine that answers, and then has no room."""

    def do_GET(self) -> None:
        known = self.path.endswith(("/version", "/_ping"))
        self.answer(200 if known else 500, {"ApiVersion": "1.41"} if known else {"message": "full"})

    def answer(self, status: int, content: object) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def engine() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), FullEngine) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"tcp://127.0.0.1:{server.server_port}"
        server.shutdown()


def step(store: Store) -> Compiled:
    return Compiled("hello", tools(store), {}, (("true",),), ("x",))


@pytest.mark.provokes("toolchain.engine-failed")
def test_what_the_engine_says_is_passed_on(store: Store, runner: Runner, engine: str) -> None:
    job = Builder(store, runner).build()
    with pytest.raises(PiimageError, match="full"):
        DockerBuild(engine).build(step(store), job)


def test_no_engine_is_told(store: Store, runner: Runner) -> None:
    job = Builder(store, runner).build()
    with pytest.raises(PiimageError) as caught:
        DockerBuild("unix:///nowhere.sock").build(step(store), job)
    assert caught.value.code == "oci.no-engine"


def test_by_hand_it_is_the_same_packages() -> None:
    text = recipe().read_text().replace("\\\n", " ")
    listed = re.search(r"--no-install-recommends\s+(.*?);", text)
    assert listed is not None
    names = [name.strip('"') for name in listed[1].split()]
    assert names == [*TOOLS, "linux-kbuild-${KERNEL}"]
