"""The form of events and errors: progress bars on a terminal, plain lines elsewhere, or JSON.

Everything that a verb prints goes through this module. Text from mirrors, images, cards and file
names may hold control characters or bytes that are not text; both are printed escaped.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from piimage import events
from piimage.deploy.text import printable, printable_lines
from piimage.errors import ErrorGroup, PiimageError
from piimage.host import explain

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_SLOW_STEP: Final = 0.2  # seconds; faster steps get no line
_DIM: Final = "\x1b[2m{}\x1b[22m"  # ECMA-48, SGR 2 and 22


def say(text: str) -> None:
    """Print `text`, the result of a verb, on standard output."""
    print(printable_lines(text), flush=True)


def tell(text: str) -> None:
    """Print `text`, such as progress or a warning, on standard error."""
    print(printable_lines(text), file=sys.stderr, flush=True)


def put(document: str) -> None:
    """Print `document`, which programs read: JSON, YAML or Markdown, made by piimage."""
    print(document, end="", flush=True)


def show_error(error: PiimageError) -> None:
    """Print each error of a group on its own line: ``place: message [code]; hint``.

    The code is the heading of the error's entry in docs/errors. A terminal shows it dim. It stands
    before the hint, because a hint often ends with a command or a line to copy.
    """
    for member in _members(error):
        text = printable_lines(f"{member.place or 'piimage'}: {member.message}")
        code = _dimmed(f"[{printable(member.code)}]")
        hint = printable_lines(f"; {member.hint}") if member.hint else ""
        print(f"{text} {code}{hint}", file=sys.stderr, flush=True)


def _dimmed(text: str) -> str:
    """Return `text` dim if standard error is a terminal that shows it so (no-color.org)."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return text if plain or not sys.stderr.isatty() else _DIM.format(text)


def _members(error: PiimageError) -> tuple[PiimageError, ...]:
    return error.errors if isinstance(error, ErrorGroup) else (error,)


def error_event(error: PiimageError) -> dict[str, object]:
    """Return the error as an event of the JSON output."""
    return {
        "event": "error", "code": error.code, "message": error.message, "place": error.place,
        "hint": error.hint, "exit": error.exit_code,
    }  # fmt: skip


@dataclass(frozen=True)
class JsonLines:
    """Prints one JSON object per line on standard output."""

    def __call__(self, event: events.Event) -> None:
        """Print `event`."""
        name = type(event).__name__
        put(json.dumps({"event": name, **dataclasses.asdict(event)}) + "\n")


@dataclass(frozen=True)
class PlainLines:
    """Prints one line per event on standard error, for logs and pipes."""

    verbose: bool = False

    def __call__(self, event: events.Event) -> None:
        """Print `event` if it has a line."""
        line = self._line(event)
        if line:
            tell(line)

    def _line(self, event: events.Event) -> str:
        match event:
            case events.StepFinished() if self.verbose or event.seconds >= _SLOW_STEP:
                return f"{event.seconds:6.2f} s  {event.title}"
            case events.CommandStarted() if self.verbose and event.temporary is not None:
                remark = f"its files in {event.temporary} are deleted when it has ended"
                return f"+ {event.line}  # {remark}"
            case events.CommandStarted() if self.verbose:
                return f"+ {event.line}"
            case events.Note():
                return event.text
            case events.Warning():
                return f"warning: {event.text}"
        return ""


class LiveDisplay:
    """Shows progress bars on a terminal, with notes above them."""

    def __init__(self, progress: Progress, verbose: bool) -> None:
        self._progress = progress
        self._plain = PlainLines(verbose)
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, event: events.Event) -> None:
        """Update the display."""
        match event:
            case events.StepStarted():
                self._tasks[event.step] = self._progress.add_task(
                    printable(event.title), total=None
                )
            case events.StepFinished():
                task = self._tasks.pop(event.step, None)
                if task is not None:
                    self._progress.remove_task(task)
                self._plain(event)
            case events.Progress():
                task = self._tasks.get(event.step)
                if task is None:
                    task = self._tasks[event.step] = self._progress.add_task(printable(event.title))
                self._progress.update(task, completed=event.done, total=event.total)
            case _:
                self._plain(event)
        self._draw_while_busy()

    def _draw_while_busy(self) -> None:
        """Draw only while a task runs: each redraw clears the line, also a machine's console."""
        if self._tasks:
            self._progress.start()
        else:
            self._progress.stop()


@contextmanager
def listening(*, verbose: bool, as_json: bool) -> Iterator[events.Listener]:
    """Yield the listener for the output: JSON, progress bars on a terminal, or plain lines."""
    if as_json:
        with json_lines() as emit:
            yield emit
    elif sys.stderr.isatty():
        with _progress() as progress:
            yield LiveDisplay(progress, verbose)
    else:
        yield PlainLines(verbose)


@contextmanager
def json_lines() -> Iterator[events.Listener]:
    """Yield a listener that prints JSON; print the errors as JSON, too, and raise them again."""
    try:
        with _host_errors():
            yield JsonLines()
    except PiimageError as error:
        for member in _members(error):
            put(json.dumps(error_event(member)) + "\n")
        raise


@contextmanager
def _host_errors() -> Iterator[None]:
    """Turn errors of the host, such as a full disk, into PiimageError."""
    try:
        yield
    except Exception as error:
        if isinstance(error, PiimageError) or (host_error := explain(error)) is None:
            raise
        raise host_error from error


@contextmanager
def _progress() -> Iterator[Progress]:
    from rich.console import Console  # noqa: PLC0415  # costs 0.1 s, and only a terminal needs it
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )  # fmt: skip

    # A title may hold text that rich would read as markup, such as a path with brackets.
    title = TextColumn("{task.description}", markup=False)
    columns = (SpinnerColumn(), title, BarColumn(), TimeElapsedColumn())
    progress = Progress(*columns, console=Console(stderr=True), transient=True)
    try:
        yield progress
    finally:
        progress.stop()
