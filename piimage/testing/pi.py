"""The facts about a Pi that is up: its agent's answers, its logs, and a shell, all over SSH."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from piimage.config.models import Appliance
from piimage.deploy.answers import Service
from piimage.deploy.hosts import Host
from piimage.deploy.reach import reached
from piimage.deploy.remote import Extract, Remote
from piimage.deploy.ssh import Ssh, lost_error
from piimage.deploy.text import printable, printable_lines
from piimage.errors import InputError, PiimageError
from piimage.run import Completed
from piimage.testing.shell import is_lost, telling_255
from piimage.testing.source import State

_PAUSE: Final = 1.0
_UP: Final = ("healthy", "running")
# What a Pi that is still booting answers; a host key or a login that is refused will stay so.
_PASSING: Final = ("deploy.no-connection", "deploy.lost")

T = TypeVar("T")


@dataclass
class Pi:
    """A Pi that runs the appliance of a file; each question is a login of its own.

    A Pi may restart between two questions. The last answers are kept, because a change is what two
    of them differ in.
    """

    appliance: Appliance
    ssh: Ssh
    host: Host
    cancelled: threading.Event
    _started: float = field(default_factory=time.monotonic)
    _rows: dict[str, Service] = field(default_factory=dict)
    _states: list[State] = field(default_factory=list)
    _read: int = 0

    def seconds(self) -> float:
        """Return the wall seconds since the test began."""
        return time.monotonic() - self._started

    def wait_for_boot(self, timeout: float) -> None:
        """Wait until the agent, which comes with the service sshd, answers.

        Raises InputError ``deploy.wrong-board``, ``testing.other-services``, and what `reached`
        raises.
        """
        deadline = time.monotonic() + timeout
        while True:
            try:
                status = self._ask(lambda remote: remote.status()[0])
            except PiimageError as error:
                if error.code not in _PASSING or time.monotonic() > deadline:
                    raise
                time.sleep(_PAUSE)
            else:
                break
        if status.board != self.appliance.board:
            raise InputError(
                "deploy.wrong-board",
                f"the file is for {self.appliance.board}, but this is a "
                f"{printable(status.board)[:40]}",
                place=self.host.name, hint="test the file that the card was built from",
            )  # fmt: skip
        self._require_services([service.name for service in status.services])

    def next_state(self, timeout: float) -> State | None:
        """Return the next change that the agent's answers show (see `Source`)."""
        deadline = time.monotonic() + timeout
        while self._read == len(self._states):
            self._poll()
            left = deadline - time.monotonic()
            if self._read == len(self._states):
                if left <= 0:
                    return None
                time.sleep(min(_PAUSE, left))
        self._read += 1
        return self._states[self._read - 1]

    def states(self) -> Sequence[State]:
        """Ask for the services, and return all changes so far; a Pi that is gone has failed."""
        try:
            self._poll()
        except PiimageError as error:
            names = [entry.name for entry in self.appliance.services]
            self._states += [State(name, f"FAILED: {error.message}") for name in names]
        return self._states

    def _poll(self) -> None:
        rows = self._ask(lambda remote: remote.services())
        for row in rows:
            self._states += changes(self._rows.get(row.name), row)
        self._rows = {row.name: row for row in rows}

    def lines(self) -> Sequence[str]:
        """Return the services' logs if the file prints them on the console, else nothing.

        The Pi does not keep what else its console showed.
        """
        if not self.appliance.log.console:
            return ()
        return [line for entry in self.appliance.services for line in self._log(entry.name, None)]

    def last_words(self, service: str) -> str:
        """Return the last line of the service's log."""
        try:
            lines = self._log(service, 1)
        except PiimageError:
            return ""
        return f"its log ends with: {lines[-1]}" if lines else ""

    def _log(self, service: str, count: int | None) -> list[str]:
        pieces: list[bytes] = []
        extract = Extract(lines=count)
        self._ask(lambda remote: remote.log(service, extract, pieces.append))
        return printable_lines(b"".join(pieces).decode(errors="replace")).splitlines()

    def _require_services(self, running: Sequence[str]) -> None:
        names = [entry.name for entry in self.appliance.services]
        if missing := [name for name in names if name not in running]:
            raise InputError(
                "testing.other-services",
                f"the Pi does not run {', '.join(missing)}, but "
                f"{printable(', '.join(running)) or 'nothing'}",
                place=self.host.name, hint="deploy the file first: piimage deploy FILE --to HOST",
            )  # fmt: skip

    def _ask(self, question: Callable[[Remote], T]) -> T:
        with reached(self.ssh, self.host, self.cancelled) as remote:
            return question(remote)


def changes(before: Service | None, now: Service) -> Iterator[State]:
    """Give what the console has printed between two rows of `ps`."""
    if before is not None and now.restarts > before.restarts:
        yield State(now.name, f"exited with code {now.exit}")
    text = _text(now)
    if before is None or text != _text(before) or now.restarts > before.restarts:
        yield State(now.name, text)


def _text(row: Service) -> str:
    """Return the state of a row of `ps` in the words of the console."""
    if row.state == "scheduled" and not row.exit:
        return row.state
    match row.state:
        case "running" if row.health in _UP and row.pid is None:
            return "exited"
        case "running":
            return row.health if row.health in (*_UP, "unhealthy") else "waiting for its health"
        case "exited" | "scheduled":
            return f"exited with code {row.exit}"
        case "back-off":
            return f"restarting, after it exited with code {row.exit}"
    return "waiting for its start" if row.state == "waiting" else printable(row.state)[:40]


@dataclass(frozen=True)
class PiShell:
    """The shell of root on a Pi."""

    ssh: Ssh
    host: Host

    def run(self, argv: Sequence[str], timeout: float) -> Completed:
        """Run `argv` on the Pi, outside the containers.

        Raises the errors of `lost_error` if the connection fails, and ``run.timeout``.
        """
        with self.ssh.terminal(self.host, [telling_255(argv)], tty=False) as command:
            completed = self.ssh.runner.run(command, timeout=timeout, accept=range(256))
        if is_lost(completed):
            raise lost_error(self.host, completed.status, completed.stderr)
        return completed
