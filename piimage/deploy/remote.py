"""What one does with the services of a host that is up, whoever keeps them running there."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from piimage.deploy import answers
from piimage.deploy.answers import Service
from piimage.deploy.docker_ssh import EngineHost
from piimage.deploy.hosts import Host
from piimage.deploy.link import Link, linked
from piimage.deploy.ssh import Ssh
from piimage.deploy.status import Status, parse
from piimage.deploy.text import printable_lines
from piimage.deploy.watch import watched
from piimage.errors import PiimageError

_WAIT_S: Final = 60
# What starts may take as long as its health check allows, which only the host knows. A host that is
# gone is noticed by ssh before that.
_LONGEST_S: Final = 3600
_FOREVER: Final = 10.0**9

Show = Callable[[bytes], None]


@dataclass(frozen=True)
class Extract:
    """Which part of a log is wanted; all that is kept, if nothing is said."""

    lines: int | None = None
    """Only the last so many."""
    since: int | None = None
    """Only what was printed from this second of 1970 on."""
    follow: bool = False
    """Go on with what is printed from now on."""


@dataclass(frozen=True)
class Return:
    """Where a rollback led."""

    target: str
    changed: tuple[str, ...]


class Remote(Protocol):
    """The services of one host."""

    @property
    def name(self) -> str:
        """What the user calls the host."""

    def services(self) -> tuple[Service, ...]:
        """Return how each service is."""

    def control(self, operation: str, service: str) -> Service:
        """Have a service ``start``, ``stop`` or ``restart``; return how it is when that is done.

        Raises PiimageError ``deploy.not-up``, ``deploy.refused`` for a service that is not there.
        """

    def log(self, service: str, extract: Extract, show: Show) -> None:
        """Show what a service printed, piece by piece; raises ``deploy.refused``."""

    def roll_back(self) -> Return:
        """Run what ran before the last deploy; a second time, what it had brought."""

    def status(self) -> tuple[Status, Mapping[str, Any]]:
        """Return how the host is, and the same as a JSON document."""


def not_up(host: str, service: str, trouble: str) -> PiimageError:
    """Return the error for a service that was started and does not run."""
    return PiimageError(
        "deploy.not-up", f"{service} is not up: {printable_lines(trouble)}", place=host,
        hint="piimage logs shows what it printed",
    )  # fmt: skip


@dataclass(frozen=True)
class AgentRemote:
    """A Pi that runs piimage's system."""

    link: Link
    ssh: Ssh
    cancelled: threading.Event

    @property
    def name(self) -> str:
        """What the user calls the host."""
        return self.link.host.name

    def services(self) -> tuple[Service, ...]:
        """Return how each service is."""
        answer = self.link.ask("ps")
        return self.link.checked(lambda: answers.services(answer))

    def control(self, operation: str, service: str) -> Service:
        """Have the agent do it."""
        answer = self.link.ask(operation, service=service, timeout=_LONGEST_S)
        if trouble := self.link.checked(lambda: answers.text(answer, "trouble")):
            raise not_up(self.name, service, trouble)
        return self.link.checked(lambda: answers.service(answer.get("service")))

    def log(self, service: str, extract: Extract, show: Show) -> None:
        """Show what the agent reads of the ring of files."""
        self.link.tell(
            "logs", service=service, lines=extract.lines, since=extract.since,
            follow=extract.follow,
        )  # fmt: skip
        while True:
            event, body = self.link.event(_FOREVER if extract.follow else 120)
            if event.get("event") != "log":
                return
            show(body)

    def roll_back(self) -> Return:
        """Have the agent go to the generation before."""
        link = self.link
        answer = link.ask("rollback", wait=_WAIT_S)
        run = link.checked(lambda: answers.text(answer, "run"))
        target = link.checked(lambda: answers.text(answer, "target"))
        changed = watched(link, run, _LONGEST_S, self.ssh, self.cancelled, lambda line: None)
        return Return(target, changed)

    def status(self) -> tuple[Status, Mapping[str, Any]]:
        """Return what the agent says of its Pi."""
        answer = self.link.ask("status")
        answer.pop("ok")
        return self.link.checked(lambda: parse(answer)), answer


@contextlib.contextmanager
def reached(ssh: Ssh, host: Host, cancelled: threading.Event) -> Iterator[Remote]:
    """Reach a host, by its agent or its Docker engine; errors as `linked` and `EngineHost`."""
    if host.engine is None:
        with linked(ssh, host, cancelled) as link:
            yield AgentRemote(link, ssh, cancelled)
        return
    from piimage.deploy.docker_remote import DockerRemote  # noqa: PLC0415  # dear, and seldom

    engine = EngineHost(ssh, host)
    with engine.client() as client:
        yield DockerRemote(engine, client)
