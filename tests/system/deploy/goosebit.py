"""goosebit, a real update server, from its package on PyPI: in an environment and with a database
of its own. GOOSEBIT_VENV names an environment that has it already."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.system.ports import free_port

VERSION = "0.2.12"
PATIENCE = 120.0


def environment(folder: Path) -> Path:
    """Return an environment with goosebit; made in `folder` unless GOOSEBIT_VENV names one."""
    if kept := os.environ.get("GOOSEBIT_VENV"):
        return Path(kept)
    venv = folder / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True, timeout=300)
    pip = f"{venv}/bin/pip"
    subprocess.run([pip, "install", "-q", f"goosebit=={VERSION}"], check=True, timeout=900)
    return venv


@dataclass
class Goosebit:
    """One server; it keeps what it knows in `folder` when it is restarted."""

    venv: Path
    folder: Path
    port: int = field(default_factory=free_port)
    poll: str = "00:00:05"
    _process: subprocess.Popen[bytes] | None = None
    _token: str = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def _environment(self) -> dict[str, str]:
        return {
            **os.environ, "GOOSEBIT_DB_URI": f"sqlite://{self.folder}/db.sqlite3",
            "GOOSEBIT_ARTIFACTS_DIR": f"{self.folder}/artifacts",
            "GOOSEBIT_PORT": str(self.port), "GOOSEBIT_POLL_TIME": self.poll,
            "GOOSEBIT_SECRET_KEY": "of a server that no one else reaches",
        }  # fmt: skip

    def start(self) -> None:
        """Start it, and wait until it answers."""
        (self.folder / "artifacts").mkdir(parents=True, exist_ok=True)
        if not (self.folder / "db.sqlite3").exists():
            self._lay_out()
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.venv / "bin/python", "-m", "goosebit"], cwd=self.folder,
                env=self._environment, stdout=log, stderr=log,
            )  # fmt: skip
        end = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{self.url}/login", timeout=5).close()
                return
            assert self._process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < end, "goosebit does not answer"
            time.sleep(0.3)

    def _lay_out(self) -> None:
        """Make the tables, as docs/fleet.md says."""
        (found,) = self.venv.glob("lib/python3*/site-packages/goosebit/db/migrations")
        (self.folder / "pyproject.toml").write_text(
            f'[tool.aerich]\ntortoise_orm = "goosebit.db.config.TORTOISE_CONF"\n'
            f'location = "{found}"\nsrc_folder = "./."\n'
        )
        subprocess.run(
            [self.venv / "bin/aerich", "upgrade"], cwd=self.folder, env=self._environment,
            check=True, timeout=PATIENCE, capture_output=True,
        )  # fmt: skip

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=PATIENCE)
            self._process = None

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    # --- the management

    def make_user(self) -> None:
        """Make the first user, and log in."""
        self.log_in("a@b.example", "shed", "/setup")

    def log_in(self, user: str, password: str, path: str = "/login") -> None:
        """Log in to the management API."""
        data = urlencode({"username": user, "password": password}).encode()
        with urllib.request.urlopen(self.url + path, data, timeout=PATIENCE) as answer:
            self._token = json.load(answer)["access_token"]

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Return the answer of the management API."""
        data = None if body is None else json.dumps(body).encode()
        return self._send(method, path, data, {"Content-Type": "application/json"})

    def _send(self, method: str, path: str, data: bytes | None, more: Mapping[str, str]) -> Any:
        headers = {"Authorization": f"Bearer {self._token}", **more}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error} {error.read()[:500]!r}") from None

    def upload(self, bundle: Path) -> int:
        """Bring a bundle to the server; return its number."""
        boundary = uuid.uuid4().hex
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; '
            f'filename="{bundle.name}"\r\nContent-Type: application/octet-stream\r\n\r\n'
        )
        data = head.encode() + bundle.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
        kind = f"multipart/form-data; boundary={boundary}"
        number = self._send("PUT", "/api/v1/software", data, {"Content-Type": kind})["id"]
        assert isinstance(number, int)
        return number

    def assign(self, device: str, software: int) -> None:
        """Have a device take a bundle."""
        body = {"devices": [device], "software": str(software)}
        self.ask("PATCH", "/api/v1/devices", body)

    def names(self) -> list[str]:
        """The devices that have called."""
        return [device["id"] for device in self.ask("GET", "/api/v1/devices")["devices"]]

    def device(self, name: str) -> dict[str, Any]:
        """What the server knows of a device."""
        (found,) = [d for d in self.ask("GET", "/api/v1/devices")["devices"] if d["id"] == name]
        assert isinstance(found, dict)
        return found

    def log_of(self, name: str) -> str:
        """What a device reported during its last update."""
        return str(self.ask("GET", f"/api/v1/devices/{name}/log")["log"])


@contextlib.contextmanager
def goosebit(folder: Path, poll: str = "00:00:05") -> Iterator[Goosebit]:
    """Run a server."""
    server = Goosebit(environment(folder), folder, poll=poll)
    server.start()
    try:
        server.make_user()
        yield server
    finally:
        server.stop()
