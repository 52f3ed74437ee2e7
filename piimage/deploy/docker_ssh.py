"""A Docker engine behind ssh: its socket, forwarded, and what is asked of the machine itself.

The far side needs nothing but sshd and the engine.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

import docker
from docker.errors import DockerException

from piimage.config.container import Health
from piimage.deploy.hosts import Host
from piimage.deploy.ssh import Ssh, lost_error, pinned
from piimage.deploy.text import printable_lines
from piimage.errors import PiimageError

_CONNECT: Final = 60.0
_LONG: Final = 600
_LOST: Final = 255  # ssh(1), "EXIT STATUS"


@dataclass(frozen=True)
class EngineHost:
    """A machine with a Docker engine (`host.engine`), as ssh reaches it."""

    ssh: Ssh
    host: Host

    @property
    def name(self) -> str:
        """What the user calls the machine."""
        return self.host.name

    @contextmanager
    def client(self) -> Iterator[docker.DockerClient]:
        """Give a client of the engine.

        Raises PiimageError ``deploy.no-connection`` and its like when ssh does not get there,
        ``deploy.no-engine`` when no engine answers (it is not running, or the user may not use it).
        """
        with tempfile.TemporaryDirectory(prefix="piimage-") as folder, pinned(self.host) as known:
            socket = Path(folder) / "docker.sock"
            forward = (
                "-nNT",
                "-o",
                "ExitOnForwardFailure=yes",
                "-L",
                f"{socket}:{self.host.engine}",
            )
            argv = self.ssh.argv(self.host, known, *forward)
            with self.ssh.runner.start(argv) as process:
                self._wait_for(socket, process)
                client = self._engine(socket)
                self.ssh.remember(self.host)
                try:
                    yield client
                finally:
                    client.close()

    def _wait_for(self, socket: Path, process: subprocess.Popen[bytes]) -> None:
        until = time.monotonic() + _CONNECT
        while not socket.exists():
            if process.poll() is not None:
                said = process.stderr.read() if process.stderr else b""
                raise self._lost(said)
            if time.monotonic() > until:
                raise self._lost(f"no answer within {_CONNECT:.0f} s".encode())
            time.sleep(0.05)

    def _engine(self, socket: Path) -> docker.DockerClient:
        try:
            client = docker.DockerClient(base_url=f"unix://{socket}", timeout=_LONG)
            client.ping()
        except DockerException as error:
            raise PiimageError(
                "deploy.no-engine",
                f"no Docker engine answers there at {self.host.engine}",
                place=self.name,
                hint="start it there (systemctl start docker), and let the user in: "
                "usermod -aG docker USER",
            ) from error
        return client

    def _lost(self, said: bytes) -> PiimageError:
        text = printable_lines(said[-2000:].decode(errors="replace")).strip()
        return lost_error(self.host, _LOST, text)

    # --- what a DockerTarget asks of the machine

    def device_group(self, path: str) -> int | None:
        """Return the group that owns a device node there; None when it is not there."""
        if "'" in path:
            return None
        text = self.said(f"stat -c %g -- '{path}'").strip()
        return int(text) if text.isdecimal() else None

    def said(self, command: str) -> str:
        """Return what a command of the shell there prints; raises as `client`."""
        with pinned(self.host) as known:
            argv = [*self.ssh.argv(self.host, known, "-nT"), command]
            done = self.ssh.runner.run(argv, accept=range(256), timeout=_CONNECT)
        if done.status == _LOST:
            raise self._lost(done.stderr)
        return done.text

    def answers(self, health: Health) -> bool:
        """Try an http or tcp check from there: ssh carries the connection."""
        if health.tcp is not None:
            address, request = health.tcp, b""
        else:
            url = urlsplit(health.http or "")
            host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname
            address, request = f"{host}:{url.port or 80}", _request(url)
        with pinned(self.host) as known:
            argv = self.ssh.argv(self.host, known, "-T", "-W", address)
            with self.ssh.runner.start(argv, stdin=subprocess.PIPE) as process:
                return _answered(process, request, health.timeout)


def _request(url: SplitResult) -> bytes:
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    return f"GET {path} HTTP/1.0\r\nHost: {url.netloc}\r\n\r\n".encode()


def _answered(process: subprocess.Popen[bytes], request: bytes, seconds: float) -> bool:
    """Say whether the other end took the connection and, if it was asked for a page, gave it."""
    try:
        said, _ = process.communicate(request or None, timeout=seconds)
    except subprocess.TimeoutExpired:
        # A tcp service that waits for us to speak has accepted; a page has to come.
        return not request
    if request:
        return re.match(rb"HTTP/1\.[01] 2\d\d\b", said) is not None
    return process.returncode == 0
