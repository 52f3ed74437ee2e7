"""Reaches a Docker engine over ssh: forwards its socket and runs commands on its machine.

The machine needs only sshd and the engine.
"""

from __future__ import annotations

import hashlib
import re
import shlex
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

import docker
from docker.errors import DockerException

from piimage.config.container import Health
from piimage.deploy.hosts import Host
from piimage.deploy.ssh import Ssh, lost_error, pinned
from piimage.deploy.text import printable
from piimage.errors import PiimageError

_CONNECT: Final = 60.0
_LONG: Final = 600
_LOST: Final = 255  # ssh(1), "EXIT STATUS"


@dataclass(frozen=True)
class EngineHost:
    """A machine with a Docker engine (`host.engine`), reached over ssh."""

    ssh: Ssh
    host: Host

    @property
    def name(self) -> str:
        """The user's name for the machine."""
        return self.host.name

    @contextmanager
    def client(self) -> Iterator[docker.DockerClient]:
        """Yield a client of the engine.

        Raises PiimageError ``deploy.no-connection`` and the other errors of `lost_error` if ssh
        fails, ``deploy.no-engine`` if no engine answers (it is not running, or the user may not
        use it).
        """
        with tempfile.TemporaryDirectory(prefix="piimage-") as folder, pinned(self.host) as pin:
            socket = Path(folder) / "docker.sock"
            forward = (
                "-nNT",
                "-o",
                "ExitOnForwardFailure=yes",
                "-L",
                f"{socket}:{self.host.engine}",
            )
            argv = self.ssh.argv(self.host, pin, *forward)
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
                raise self._lost(process.stderr.read() if process.stderr else b"")
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
                f"no Docker engine answers at {self.host.engine}",
                place=self.name,
                hint="start the engine (systemctl start docker), and allow the user to use it: "
                "usermod -aG docker USER",
            ) from error
        return client

    def _lost(self, stderr: bytes) -> PiimageError:
        return lost_error(self.host, _LOST, stderr)

    # --- requests to the machine itself

    def device_group(self, path: str) -> int | None:
        """Return the group that owns a device node; None if there is no such node."""
        if "'" in path:
            return None
        text = self.output_of(f"stat -c %g -- '{path}'").strip()
        return int(text) if text.isdecimal() else None

    def output_of(self, command: str) -> str:
        """Run a shell command on the machine and return its output; raises the errors of ssh."""
        with pinned(self.host) as pin:
            argv = [*self.ssh.argv(self.host, pin, "-nT"), command]
            done = self.ssh.runner.run(argv, accept=range(256), timeout=_CONNECT)
        if done.status == _LOST:
            raise self._lost(done.stderr)
        return done.text

    @cached_property
    def _profiles(self) -> str:
        """The user's folder on the machine for seccomp profiles."""
        data = self.output_of('printf %s "${XDG_DATA_HOME:-$HOME/.local/share}"')
        return f"{data}/piimage/seccomp"

    def profile_path(self, profile: str) -> str:
        """Return where the machine keeps the seccomp profile `profile` (JSON)."""
        return f"{self._profiles}/{hashlib.sha256(profile.encode()).hexdigest()}.json"

    def keep_profile(self, profile: str) -> None:
        """Write the seccomp profile `profile` to the machine, if it does not have it.

        The name of the file follows from its content, so that what a running container refers to
        never changes. Raises PiimageError ``deploy.engine``, and the errors of ssh.
        """
        path = self.profile_path(profile)
        where, whole = shlex.quote(path), shlex.quote(f"{path}.new")
        folder = shlex.quote(self._profiles)
        write = f"mkdir -p {folder} && cat >{whole} && mv {whole} {where}"
        with pinned(self.host) as pin:
            argv = [*self.ssh.argv(self.host, pin, "-T"), f"[ -s {where} ] || {{ {write}; }}"]
            done = self.ssh.runner.run(
                argv, stdin=profile.encode(), accept=range(256), timeout=_CONNECT
            )
        if done.status == _LOST:
            raise self._lost(done.stderr)
        if done.status:
            raise PiimageError(
                "deploy.engine",
                f"the seccomp profile cannot be written to {path}: {_last_line(done.stderr)}",
                place=self.name,
                hint="make room there, or let the user write to that folder",
            )

    def answers(self, health: Health, within: int | None = None) -> bool:
        """Try an http or tcp health check from the machine, through ssh.

        With `within`, it is made in the network of that process of the user: in the namespaces of a
        rootless engine, by util-linux's nsenter and bash, which Debian's systems have.
        """
        if health.tcp is not None:
            address, request = health.tcp, b""
        else:
            url = urlsplit(health.http or "")
            host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname
            address, request = f"{host}:{url.port or 80}", _request(url)
        with pinned(self.host) as pin:
            if within is None:
                argv = self.ssh.argv(self.host, pin, "-T", "-W", address)
            else:
                argv = [*self.ssh.argv(self.host, pin, "-T"), _connection(address, within)]
            with self.ssh.runner.start(argv, stdin=subprocess.PIPE) as process:
                return _answered(process, request, health.timeout)


def _connection(address: str, pid: int) -> str:
    """Return the shell command that connects its input and output to `address`, as ``-W`` does."""
    host, _, port = address.rpartition(":")
    connect = 'exec 3<>"/dev/tcp/$0/$1" && cat >&3 && exec cat <&3'
    words = ["nsenter", "-t", str(pid), "-U", "-n", "--preserve-credentials"]
    return shlex.join([*words, "bash", "-c", connect, host.strip("[]"), port])


def _last_line(printed: bytes) -> str:
    lines = printed.decode(errors="replace").strip().splitlines()
    return printable(lines[-1]) if lines else "no reason given"


def _request(url: SplitResult) -> bytes:
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    return f"GET {path} HTTP/1.0\r\nHost: {url.netloc}\r\n\r\n".encode()


def _answered(process: subprocess.Popen[bytes], request: bytes, seconds: float) -> bool:
    """Return whether the connection was accepted and, for an http check, the page was sent."""
    try:
        response, _ = process.communicate(request or None, timeout=seconds)
    except subprocess.TimeoutExpired:
        # A tcp service that waits for the client has accepted the connection; a page has to come.
        return not request
    if request:
        return re.match(rb"HTTP/1\.[01] 2\d\d\b", response) is not None
    return process.returncode == 0
