"""The appliance of the deploy tests: built, booted, and released in many versions."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from piimage import resources
from piimage.board import Board
from piimage.build import Project, build_card, open_project, plan
from piimage.config.load import load
from piimage.deploy.hosts import Host
from piimage.deploy.link import Link, linked
from piimage.deploy.pi import PiTarget, Wish
from piimage.deploy.release import Release, release_of
from piimage.deploy.ssh import Ssh
from piimage.emulator.machine import Forward
from piimage.emulator.session import Options, Session, boot
from piimage.events import ignore
from piimage.firmware.manifest import board_of
from piimage.locking.fetching import make
from piimage.locking.inputs import Inputs
from piimage.run import Runner
from piimage.store import Store
from piimage.testing.shell import Shell, card_with_key
from tests.system.ports import free_port

PATIENCE = 600.0
WEB = 8080
APPLIANCE = Path(__file__).parent / "appliance"


@dataclass(frozen=True)
class Greenhouse:
    """A folder with the appliance's file, its container folders, and what is made of them."""

    folder: Path
    sources: Inputs

    @classmethod
    def laid_out(cls, folder: Path, store: Path) -> Greenhouse:
        shutil.copytree(APPLIANCE, folder)
        hello = resources.path("services") / "hello_world"
        shutil.copytree(hello, folder / "services" / "hello_world")
        mirror = os.environ.get("PIIMAGE_MIRROR")
        return cls(folder, Inputs(Store(store), Runner(), ignore, time.time, mirror))

    @property
    def file(self) -> Path:
        return self.folder / "greenhouse.yml"

    def project(self) -> Project:
        return open_project([self.file], load([self.file], [], os.environ), self.sources)

    def card(self) -> Path:
        return build_card(self.project(), self.sources, self.folder / "out").image

    def release(self) -> Release:
        project = self.project()
        version = plan(project, self.sources)
        job = make(version.steps(), project.lock, self.sources)
        return release_of(version, job, "greenhouse.yml")

    def say(self, line: str) -> None:
        """Change one line of hello_world: what it prints first."""
        script = self.folder / "services" / "hello_world" / "hello.sh"
        lines = script.read_text().splitlines()
        place = next(n for n, text in enumerate(lines) if text.strip().startswith("echo "))
        lines[place] = f'\techo "{line}"'
        script.write_text("\n".join(lines) + "\n")

    @contextlib.contextmanager
    def changed(self, path: str, old: str, new: str) -> Iterator[Release]:
        """Give the release with `old` replaced by `new` in one file, which is put back after."""
        file = self.folder / path
        kept = file.read_text()
        assert old in kept
        file.write_text(kept.replace(old, new))
        try:
            yield self.release()
        finally:
            file.write_text(kept)

    def saying(self, line: str) -> Release:
        self.say(line)
        return self.release()


@dataclass(frozen=True)
class Pi:
    """The booted card, and two ways to it."""

    session: Session
    board: Board
    shell: Shell
    host: Host
    ssh: Ssh
    greenhouse: Greenhouse
    web_port: int
    """A port of this host that leads to the service `web`."""

    def target(self, release: Release, cancelled: threading.Event | None = None) -> PiTarget:
        sources = self.greenhouse.sources
        return PiTarget(
            self.host, Wish(release), self.ssh, sources.store, sources.runner,
            cancelled or threading.Event(),
        )  # fmt: skip

    @contextlib.contextmanager
    def link(self) -> Iterator[Link]:
        with linked(self.ssh, self.host, threading.Event()) as link:
            yield link

    def sh(self, script: str) -> str:
        done = self.shell.run(["sh", "-c", script], PATIENCE)
        assert done.status == 0, (script, done)
        return done.text


def ssh_config(folder: Path, key: Path, port: int) -> Path:
    """Write what a user would have in ~/.ssh/config."""
    path = folder / "ssh_config"
    path.write_text(
        f"Host greenhouse\n  HostName 127.0.0.1\n  Port {port}\n  IdentityFile {key}\n"
        f"  IdentitiesOnly yes\n  StrictHostKeyChecking accept-new\n"
        f"  UserKnownHostsFile {folder}/known_hosts\n"
    )
    return path


@contextlib.contextmanager
def booted(
    greenhouse: Greenhouse, card: Path, key: Path, *, disk: Path | None = None
) -> Iterator[Pi]:
    """Boot `card`; what it writes is kept in `disk` if that is given."""
    runner = greenhouse.sources.runner
    board = board_of(card)
    web = Forward(free_port(), WEB)
    options = Options(disk_size=2 << 30, ssh_port=0, disk_file=disk, forwards=(web,))
    with boot(card, board, runner, options) as session:
        assert session.ssh_port is not None
        session.wait_for("piimage: service sshd: running", PATIENCE)
        config = ssh_config(key.parent, key, session.ssh_port)
        shell = Shell(runner, key, session.ssh_port)
        shell.wait(PATIENCE)
        ssh = Ssh(runner, config, ask=False)
        host = Host("greenhouse", "greenhouse")
        yield Pi(session, board, shell, host, ssh, greenhouse, web.host)


def card_and_key(greenhouse: Greenhouse, folder: Path) -> tuple[Path, Path]:
    """Return the appliance's card, with a key of ours let in."""
    card = greenhouse.card()
    return card_with_key(greenhouse.sources.runner, card, board_of(card), folder)
