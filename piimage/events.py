"""What happens during a command, as a stream of events; the CLI decides how they look."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class StepStarted:
    """Work on one step begins; `step` is a name that its end has as well, and tells nothing."""

    step: str
    title: str


@dataclass(frozen=True)
class StepFinished:
    """One step is done after `seconds` of wall time."""

    step: str
    title: str
    seconds: float


@dataclass(frozen=True)
class Progress:
    """`done` of `total` units (bytes unless `unit` says otherwise) of a step are through."""

    step: str
    title: str
    done: int
    total: int | None
    unit: str = "B"


@dataclass(frozen=True)
class CommandStarted:
    """An external command starts; `line` can be pasted into a shell."""

    line: str


@dataclass(frozen=True)
class Note:
    """A sentence for the user: what was decided, or a result."""

    text: str


@dataclass(frozen=True)
class Warning:  # always used as events.Warning
    """Something that the user should know and that does not stop the command."""

    text: str


Event = StepStarted | StepFinished | Progress | CommandStarted | Note | Warning
Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Listen to nothing."""
