"""Operations on the services of a running host, for the agent and for Docker engines."""

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
    """The part of a log to show; without any limit, all of it."""

    lines: int | None = None
    """Show only the last `lines` lines."""
    age: int | None = None
    """Show only what was printed in the last `age` seconds, by the host's clock."""
    until: int | None = None
    """Show only what was printed before the last `until` seconds, by the host's clock."""
    follow: bool = False
    """Follow the output."""


@dataclass(frozen=True)
class Return:
    """The result of a rollback."""

    target: str
    changed: tuple[str, ...]


class Remote(Protocol):
    """The services of one host."""

    @property
    def name(self) -> str:
        """The user's name for the host."""

    def services(self) -> tuple[Service, ...]:
        """Return the state of each service."""

    def control(self, operation: str, service: str) -> Service:
        """Let a service ``start``, ``stop`` or ``restart``; return its state afterwards.

        Raises PiimageError ``deploy.not-up``, ``deploy.refused`` for an unknown service.
        """

    def log(self, service: str, extract: Extract, show: Show) -> None:
        """Show the log of a service, piece by piece; raises ``deploy.refused``."""

    def roll_back(self) -> Return:
        """Return to the version before the last deploy; a second rollback undoes the first."""

    def roll_back_system(self) -> str:
        """Return to the version of the system in the other slot; return its partition.

        Raises PiimageError ``deploy.cannot``, ``deploy.undone``, ``deploy.refused``.
        """

    def status(self) -> tuple[Status, Mapping[str, Any]]:
        """Return the status of the host, also as a JSON document."""

    def examine(self, now: float) -> Examination:
        """Examine the hardware; `now` is this computer's time in seconds since 1970.

        Raises PiimageError ``deploy.cannot``, and ``doctor.no-agent`` for a host without an agent.
        """


def not_up(host: str, service: str, trouble: str) -> PiimageError:
    """Return the error for a service that does not run after its start."""
    return PiimageError(
        "deploy.not-up", f"{service} is not up: {printable_lines(trouble)}", place=host,
        hint="piimage logs shows its output",
    )  # fmt: skip
