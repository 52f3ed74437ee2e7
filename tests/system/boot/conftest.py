"""Card images of the appliances beside this file, built by the command."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from piimage.board import Board
from piimage.emulator.ports import Forward, free_port
from piimage.emulator.session import Options, Session, boot
from piimage.firmware.manifest import board_of
from piimage.run import Runner
from piimage.testing.shell import Shell, card_with_key

PIIMAGE = Path(sys.executable).with_name("piimage")
APPLIANCES = Path(__file__).parent / "appliances"
PATIENCE = 600.0  # seconds; a machine that tests on two busy processors is slow

# Prints the process of the service's task; the file with its number outlives it for a moment.
TASK = """
until pid=$(cat /run/piimage/services/{0}/pid) && [ "$pid" ] && [ -d "/proc/$pid" ] \\
    && [ "$pid" != "{1}" ]
do sleep 1
done 2>/dev/null
echo $pid
"""

Command = Callable[[Sequence[str | Path]], "subprocess.CompletedProcess[str]"]


@dataclass(frozen=True)
class Pi:
    """A board that is up, and a shell on it."""

    session: Session
    board: Board
    shell: Shell
    ports: Mapping[int, int] = field(default_factory=dict)
    """The ports of this host that lead to ports of the board, by these."""

    def say(self, script: str) -> str:
        """Run `script` by sh on the board, and return what it printed; it must exit with 0."""
        done = self.shell.run(["sh", "-c", script], PATIENCE)
        assert done.status == 0, (script, done)
        return done.text

    def task(self, service: str) -> str:
        """Return the first process of the service's task, once there is one that lives."""
        return self.say(TASK.format(service, "")).strip()

    def next_task(self, service: str, former: str) -> str:
        """Return the process of the task that follows the one with the process `former`."""
        return self.say(TASK.format(service, former)).strip()

    def restart(self, service: str) -> None:
        """Have process 1 restart the service, and wait for its new task.

        Process 1 does not wait: the old task may live for as long as the service may take to stop.
        """
        former = self.task(service)
        self.say(f"initctl restart {service}")
        self.next_task(service, former)


@contextmanager
def up(image: Path, folder: Path, ports: Sequence[int] = ()) -> Iterator[Pi]:
    """Boot the image on a card of 2 GiB, and wait until its shell answers.

    `ports` of the board are reached by ports of this host.
    """
    runner = Runner()
    board = board_of(image)
    card, key = card_with_key(runner, image, board, folder)
    ours = {port: free_port() for port in ports}
    forwards = tuple(Forward(host, guest) for guest, host in ours.items())
    options = Options(disk_size=2 << 30, ssh_port=0, forwards=forwards)
    with boot(card, board, runner, options) as session:
        assert session.ssh_port is not None
        session.wait_for("piimage: service sshd: running", PATIENCE)
        shell = Shell(runner, key, session.ssh_port)
        shell.wait(PATIENCE)
        yield Pi(session, board, shell, ours)


def command_in(folder: Path, store: Path) -> Command:
    """Return the command, run in `folder`."""

    def run(arguments: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PIIMAGE, *arguments],
            env={**os.environ, "PIIMAGE_STORE": str(store)},
            cwd=folder, capture_output=True, text=True, timeout=850, check=False,
        )  # fmt: skip

    return run


@pytest.fixture(scope="session")
def appliances(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the appliances, so that their locks do not land in the repository."""
    folder = tmp_path_factory.mktemp("boot") / "appliances"
    shutil.copytree(APPLIANCES, folder, ignore=shutil.ignore_patterns("*.lock"))
    return folder


@pytest.fixture(scope="session")
def piimage(piimage_store: Path, appliances: Path) -> Command:
    """The command, run in the folder of the appliances."""
    return command_in(appliances, piimage_store)


@pytest.fixture(scope="package")
def virt(piimage: Command, appliances: Path) -> Path:
    done = piimage(["build", "virt.yml", "-o", "out"])
    assert done.returncode == 0, done.stderr
    return appliances / "out" / "virt.img"


@pytest.fixture(scope="package")
def pi(virt: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pi]:
    """The virt machine with all services up, for the modules whose names begin with test_virt."""
    with up(virt, tmp_path_factory.mktemp("card"), (80, 8080, 8081)) as found:
        yield found
