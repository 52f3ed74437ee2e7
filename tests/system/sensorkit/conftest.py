"""A service on models, and a broker, as processes that end with the test."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
FOLDERS = ("libraries/sensorkit", "libraries/chipmodels", "services/bmp280", "services/envirophat")
PYTHONPATH = os.pathsep.join(str(ROOT / folder) for folder in FOLDERS)


def free_port() -> int:
    with closing(socket.socket()) as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def until(condition: Callable[[], Any], seconds: float = 20) -> Any:
    """Return the first true value of `condition`; the test fails without one in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = condition()
        if answer:
            return answer
        time.sleep(0.05)
    pytest.fail(f"nothing within {seconds} s")


@dataclass
class Process:
    """A running service: its HTTP port and its process."""

    port: int
    process: subprocess.Popen[str]

    def get(self, path: str) -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except OSError:
            return 0, b""

    def json(self, path: str) -> Any:
        return json.loads(self.get(path)[1] or b"null")


@pytest.fixture
def serve() -> Iterator[Callable[..., Process]]:
    """Start a service with variables; it is healthy when this returns."""
    with ExitStack() as stack:

        def start(name: str, **variables: str) -> Process:
            port = free_port()
            environment = {
                "PATH": os.environ["PATH"],
                "PYTHONPATH": PYTHONPATH,
                "MALLOC_ARENA_MAX": "1",
                f"{name.upper()}_HTTP_LISTEN": f"127.0.0.1:{port}",
                **variables,
            }
            process = subprocess.Popen(
                [sys.executable, str(HERE / "model_service.py"), name, "serve"],
                env=environment,
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.callback(_end, process)
            service = Process(port, process)
            until(lambda: service.get("/healthz")[0] == 200)
            return service

        yield start


@dataclass
class Broker:
    """A mosquitto of the test's own, which can go away and come back."""

    folder: Path
    port: int
    lines: tuple[str, ...] = ("allow_anonymous true",)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
        assert program, "mosquitto is not installed: apt-get install mosquitto"
        config = self.folder / "mosquitto.conf"
        settings = [f"listener {self.port} 127.0.0.1", "user root", *self.lines]
        config.write_text("\n".join(settings) + "\n")
        self.process = subprocess.Popen([program, "-c", str(config)], stderr=subprocess.DEVNULL)
        until(self._answers)

    def _answers(self) -> bool:
        with closing(socket.socket()) as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        if self.process is not None:
            _end(self.process)
            self.process = None


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    made = Broker(tmp_path, free_port())
    made.start()
    yield made
    made.stop()


def _end(process: subprocess.Popen[Any]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
