"""The events of a command, such as progress; the CLI decides how to show them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class StepStarted:
    """A step begins; `step` is a random ID that the step's `StepFinished` has as well."""

    step: str
    title: str


@dataclass(frozen=True)
class StepFinished:
    """A step is done after `seconds` of wall time."""

    step: str
    title: str
    seconds: float


@dataclass(frozen=True)
class Progress:
    """`done` of `total` units of a step are processed; units are bytes by default."""

    step: str
    title: str
    done: int
    total: int | None
    unit: str = "B"


@dataclass(frozen=True)
class CommandStarted:
    """An external command starts; `line` is as a shell takes it.

    `temporary` is the folder with files of the command that is deleted when the command has ended.
    """

    line: str
    temporary: Path | None = None


@dataclass(frozen=True)
class Note:
    """A sentence for the user: a decision or a result."""

    text: str


@dataclass(frozen=True)
class Warning:  # always used as events.Warning
    """A sentence for the user about a problem that does not stop the command."""

    text: str


Event = StepStarted | StepFinished | Progress | CommandStarted | Note | Warning
Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Ignore `event`."""
