"""A user without privileges who runs engines, behind a real sshd.

The user and the user's ranges of ids exist in mount namespaces of the tests alone, where copies
cover the files of /etc that list them.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import docker
from docker.errors import DockerException

from piimage.deploy.docker_ssh import EngineHost
from piimage.deploy.hosts import parse_host
from piimage.deploy.ssh import Ssh
from piimage.oci import binfmt
from piimage.run import Runner
from tests.system.deploy.machines import sshd
from tests.system.deploy.site import Site
from tests.system.ports import free_port

NAME = "piimage-test"
_SIZE = 65536
# Those of this run of the tests alone, because what is left of a user is ended by the user's id.
_LOWEST = 300_000
_IDS = {engine: _LOWEST + 10 * (os.getpid() % 1000) + number
        for number, engine in enumerate(("docker", "podman"))}  # fmt: skip
_SCRIPT = "/usr/share/docker.io/contrib/dockerd-rootless.sh"
_COVER = 'for file in passwd group subuid subgid; do mount --bind "$0/$file" "/etc/$file"; done; '


@dataclass(frozen=True)
class User:
    """A user; `folder` has the home, and what covers the files of /etc."""

    folder: Path
    uid: int

    @property
    def first(self) -> int:
        """The first of the ids for the user's containers."""
        return 1_000_000_000 + (self.uid - _LOWEST) * _SIZE

    def has(self, uid: int) -> bool:
        """Tell whether `uid` is the user, or of the user's containers."""
        return uid == self.uid or 0 <= uid - self.first < _SIZE

    @property
    def run(self) -> Path:
        """The folder for the sockets of the user's programs."""
        return self.folder / "run"

    @property
    def with_files(self) -> list[str]:
        """What runs a command, as root, where the files of /etc have the user."""
        return ["unshare", "-m", "sh", "-c", f'{_COVER} exec "$@"', str(self.folder)]

    def command(self, words: Sequence[str | Path]) -> list[str]:
        """The words with which root runs `words` as the user."""
        environment = [
            f"HOME={self.folder}/home", f"USER={NAME}", f"XDG_RUNTIME_DIR={self.run}",
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
        ]  # fmt: skip
        as_user = ["setpriv", "--reuid", str(self.uid), "--regid", str(self.uid), "--clear-groups"]
        return [*self.with_files, *as_user, "env", "-i", *environment, *map(str, words)]


@contextmanager
def user(uid: int) -> Iterator[User]:
    """Give a user whose folders each user may enter, as a home's parents are."""
    folder = Path(tempfile.mkdtemp(prefix="piimage-rootless-"))
    found = User(folder, uid)
    folder.chmod(0o755)
    for name in ("home", "run"):
        (folder / name).mkdir(mode=0o700)
        os.chown(folder / name, uid, uid)
    passwd = f"{NAME}:x:{uid}:{uid}::{folder}/home:/bin/sh\n"
    (folder / "passwd").write_text(Path("/etc/passwd").read_text() + passwd)
    (folder / "group").write_text(Path("/etc/group").read_text() + f"{NAME}:x:{uid}:\n")
    for name in ("subuid", "subgid"):
        (folder / name).write_text(f"{NAME}:{found.first}:{_SIZE}\n")
    try:
        yield found
    finally:
        _end_all(found)
        shutil.rmtree(folder)  # as root: files of containers belong to ids of the range


def _end_all(who: User) -> None:
    """End what Podman leaves to itself: its pause process, and the watchers of its containers."""
    deadline = time.monotonic() + 60
    while left := [pid for pid, uid in _processes() if who.has(uid)]:
        assert time.monotonic() < deadline, left
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)


def _processes() -> Iterator[tuple[int, int]]:
    """Give each process that lives with its user."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                fields = dict(
                    line.split(":", 1) for line in (folder / "status").read_text().splitlines()
                )
                if "Z" not in fields["State"]:
                    yield int(folder.name), int(fields["Uid"].split()[0])


def engine_words(who: User, engine: str) -> tuple[list[str | Path], Path]:
    """What starts the rootless engine `engine`, and its socket."""
    if engine == "docker":
        return [_SCRIPT], who.run / "docker.sock"
    socket = who.run / "podman.sock"
    return [
        "podman",
        "--log-level=info",
        "system",
        "service",
        "--time=0",
        f"unix://{socket}",
    ], socket


@contextmanager
def running(who: User, engine: str) -> Iterator[Path]:
    """Start the user's engine; give its socket."""
    words, socket = engine_words(who, engine)
    with (who.folder / "log").open("wb") as log:
        process = subprocess.Popen(who.command(words), stdout=log, stderr=log, cwd=who.folder)
        try:
            _wait_for(socket, process, who.folder / "log")
            yield socket
        finally:
            process.terminate()
            process.wait(timeout=60)


def _wait_for(socket: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with closing(docker.DockerClient(base_url=f"unix://{socket}")) as client:
                client.ping()
                return
        except DockerException:
            time.sleep(0.2)
    raise AssertionError(log.read_text()[-3000:])


@contextmanager
def rootless_pi(engine: str, project: Path, store: Path) -> Iterator[Site]:
    """Start a user's engine and an sshd that the user logs in to."""
    with user(_IDS[engine]) as who, running(who, engine) as socket:
        place = who.folder / "sshd"
        place.mkdir()
        with sshd(place, within=who.with_files) as server:
            binfmt.register("qemu-aarch64", Runner())
            text = f"docker+ssh://{NAME}@127.0.0.1:{server.port}{socket}"
            host = EngineHost(Ssh(Runner(), server.config, ask=False), parse_host(text))
            yield Site(host, project, store, free_port())
            with closing(docker.DockerClient(base_url=f"unix://{socket}")) as client:
                for container in client.containers.list(all=True):
                    container.remove(force=True)
