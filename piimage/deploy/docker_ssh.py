"""A Docker engine behind ssh: its socket, forwarded, and what is asked of the machine itself.

The system's own ssh does it, so keys, agents, jump hosts and ~/.ssh/config hold, and the far side
needs nothing but sshd and the engine.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

import docker
from docker.errors import DockerException

from piimage.config.container import Health
from piimage.deploy.text import printable
from piimage.errors import InputError, PiimageError
from piimage.run import Runner

SCHEME: Final = "docker+ssh"
_SOCKET: Final = "/var/run/docker.sock"
_CONNECT: Final = 60.0
_LONG: Final = 600
_NAME: Final = re.compile(r"([A-Za-z0-9_.][A-Za-z0-9_.-]*@)?[A-Za-z0-9_.\[][A-Za-z0-9_.:%\]-]*")
_PATH: Final = re.compile(r"(/[A-Za-z0-9_.-]+)*/?")


@dataclass(frozen=True)
class SshHost:
    """A machine as ssh knows it, and its engine's socket.

    `destination` is HOST or USER@HOST, `options` are ssh's own.
    """

    runner: Runner
    destination: str
    port: int | None = None
    options: tuple[str, ...] = ()
    socket: str = _SOCKET

    def command(self, *words: str) -> list[str]:
        """Return the ssh command with `words` before the destination."""
        port = ["-p", str(self.port)] if self.port else []
        return ["ssh", "-T", "-o", "BatchMode=yes", *self.options, *port, *words]

    def ask(self, line: str) -> str | None:
        """Run a line of shell there and return what it printed; None when it failed."""
        done = self.runner.run(
            [*self.command(), self.destination, line], accept=range(256), timeout=_CONNECT
        )
        if done.status == 255:
            raise unreachable(self.destination, done.stderr.decode(errors="replace"))
        return done.text if done.status == 0 else None

    # --- what a DockerTarget asks of the machine

    def device_group(self, path: str) -> int | None:
        """Return the group that owns a device node there."""
        found = self.ask(f"stat -c %g -- '{path}'" if "'" not in path else "false")
        return int(found) if found and found.strip().isdecimal() else None

    def answers(self, health: Health) -> bool:
        """Try an http or tcp check from there: ssh carries the connection."""
        if health.tcp is not None:
            host, port, request = *_split(health.tcp), b""
        else:
            url = urlsplit(health.http or "")
            host, port, request = url.hostname or "", url.port or 80, _request(url)
        words = self.command("-W", f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        with self.runner.start([*words, self.destination], stdin=subprocess.PIPE) as process:
            return _answered(process, request, health.timeout)


def _request(url: SplitResult) -> bytes:
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    return f"GET {path} HTTP/1.0\r\nHost: {url.netloc}\r\n\r\n".encode()


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


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


@contextmanager
def engine_client(host: SshHost) -> Iterator[docker.DockerClient]:
    """Give a client of the engine behind `host`.

    Raises PiimageError ``deploy.unreachable`` when ssh does not get there, ``deploy.engine-absent``
    when no engine answers (it is not running, or the user may not use it).
    """
    with tempfile.TemporaryDirectory(prefix="piimage-") as folder:
        socket = Path(folder) / "docker.sock"
        words = host.command(
            "-nN", "-o", "ExitOnForwardFailure=yes", "-L", f"{socket}:{host.socket}"
        )
        with host.runner.start([*words, host.destination]) as process:
            _wait_for(socket, process, host.destination)
            client = _client(socket, host)
            try:
                yield client
            finally:
                client.close()


def _wait_for(socket: Path, process: subprocess.Popen[bytes], name: str) -> None:
    until = time.monotonic() + _CONNECT
    while not socket.exists():
        if process.poll() is not None:
            said = process.stderr.read() if process.stderr else b""
            raise unreachable(name, said.decode(errors="replace"))
        if time.monotonic() > until:
            raise unreachable(name, f"no answer within {_CONNECT:.0f} s")
        time.sleep(0.05)


def _client(socket: Path, host: SshHost) -> docker.DockerClient:
    try:
        client = docker.DockerClient(base_url=f"unix://{socket}", timeout=_LONG)
        client.ping()
    except DockerException as error:
        raise PiimageError(
            "deploy.engine-absent",
            f"no Docker engine answers there at {host.socket}",
            place=host.destination,
            hint="start it there (systemctl start docker), and let the user in: "
            "usermod -aG docker USER",
        ) from error
    return client


def unreachable(name: str, said: str) -> PiimageError:
    """Return the error for a machine that ssh does not reach; `said` is what ssh said."""
    lines: Sequence[str] = [printable(line) for line in said.splitlines() if line.strip()]
    return PiimageError(
        "deploy.unreachable",
        f"ssh does not get there: {lines[-1] if lines else 'it said nothing'}",
        place=name,
        hint=f"try `ssh {name} true`: what makes that work makes this work",
    )


def parse_address(text: str, runner: Runner, options: tuple[str, ...] = ()) -> SshHost:
    """Read ``docker+ssh://[USER@]HOST[:PORT][/SOCKET]``, a path if the socket is not the usual one.

    Raises InputError ``deploy.address`` for anything else.
    """
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise _no_address(text) from None
    where = url.netloc.removesuffix(f":{port}") if port else url.netloc
    if url.scheme != SCHEME or not _NAME.fullmatch(where) or not _PATH.fullmatch(url.path):
        raise _no_address(text)
    return SshHost(runner, where, port, options, url.path.rstrip("/") or _SOCKET)


def _no_address(text: str) -> InputError:
    return InputError(
        "deploy.address",
        f"{text!r} is no address of an engine",
        place="--to",
        hint="write docker+ssh://USER@HOST or docker+ssh://USER@HOST:PORT",
    )
