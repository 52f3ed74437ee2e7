"""What one does with the services of a host that is up, whoever keeps them running there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from piimage.deploy.answers import Service
from piimage.deploy.status import Status
from piimage.deploy.text import printable_lines
from piimage.doctor.examine import Examination
from piimage.errors import PiimageError

Show = Callable[[bytes], None]


@dataclass(frozen=True)
class Extract:
    """Which part of a log is wanted; all that is kept, if nothing is said."""

    lines: int | None = None
    """Only the last so many."""
    age: int | None = None
    """Only what was printed in the last so many seconds, by the host's own clock."""
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

    def examine(self, now: float) -> Examination:
        """Return what its hardware is like; `now` is this computer's time in seconds of 1970.

        Raises PiimageError ``deploy.cannot``, and ``doctor.no-agent`` where nobody can tell.
        """


def not_up(host: str, service: str, trouble: str) -> PiimageError:
    """Return the error for a service that was started and does not run."""
    return PiimageError(
        "deploy.not-up", f"{service} is not up: {printable_lines(trouble)}", place=host,
        hint="piimage logs shows what it printed",
    )  # fmt: skip
