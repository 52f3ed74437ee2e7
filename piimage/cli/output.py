"""How events and errors look: rich progress on a terminal, plain lines elsewhere, or JSON.

Everything that a verb prints goes through here. What comes from mirrors, images, cards and file
names may hold what steers a terminal, or bytes that are no text: people see it written out.
"""

from __future__ import annotations

import dataclasses
import json
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

_SLOW_STEP: Final = 0.2  # seconds; quicker steps are not worth a line


def say(text: str) -> None:
    """Print `text` for people, as the result of a verb."""
    print(printable_lines(text), flush=True)


def tell(text: str) -> None:
    """Print `text` for people, beside the result."""
    print(printable_lines(text), file=sys.stderr, flush=True)


def put(document: str) -> None:
    """Print `document`, which other programs read: JSON, YAML or a page, made by piimage."""
    print(document, end="", flush=True)


def show_error(error: PiimageError) -> None:
    """Print an error, each of a group on its own, in the form ``place: what; instead``."""
    errors = error.errors if isinstance(error, ErrorGroup) else (error,)
    for one in errors:
        tell(str(one) if one.place else f"piimage: {one}")


def error_event(error: PiimageError) -> dict[str, object]:
    """Return an error as the JSON stream has it."""
    return {
        "event": "error", "code": error.code, "message": error.message, "place": error.place,
        "hint": error.hint, "exit": error.exit_code,
    }  # fmt: skip


@dataclass(frozen=True)
class JsonLines:
    """One JSON object a line on standard output."""

    def __call__(self, event: events.Event) -> None:
        """Print `event`."""
        name = type(event).__name__
        put(json.dumps({"event": name, **dataclasses.asdict(event)}) + "\n")


@dataclass(frozen=True)
class PlainLines:
    """One line an event on standard error: for logs and pipes."""

    verbose: bool = False

    def __call__(self, event: events.Event) -> None:
        """Print `event` if it is worth a line."""
        line = self._line(event)
        if line:
            tell(line)

    def _line(self, event: events.Event) -> str:
        match event:
            case events.StepFinished() if self.verbose or event.seconds >= _SLOW_STEP:
                return f"{event.seconds:6.2f} s  {event.title}"
            case events.CommandStarted() if self.verbose:
                return f"+ {event.line}"
            case events.Note():
                return event.text
            case events.Warning():
                return f"warning: {event.text}"
        return ""


class LiveDisplay:
    """Progress bars on a terminal, notes above them."""

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
    """Give the listener that fits where the output goes; with JSON, errors go there too."""
    if as_json:
        try:
            with host_errors():
                yield JsonLines()
        except PiimageError as error:
            for one in error.errors if isinstance(error, ErrorGroup) else (error,):
                put(json.dumps(error_event(one)) + "\n")
            raise
    elif sys.stderr.isatty():
        with _progress() as progress:
            yield LiveDisplay(progress, verbose)
    else:
        yield PlainLines(verbose)


@contextmanager
def host_errors() -> Iterator[None]:
    """Turn the host's own errors, such as a full disk, into such as are shown."""
    try:
        yield
    except Exception as error:
        if isinstance(error, PiimageError) or (known := explain(error)) is None:
            raise
        raise known from error


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

    # A title may hold what rich would take for markup, such as a path with brackets.
    title = TextColumn("{task.description}", markup=False)
    columns = (SpinnerColumn(), title, BarColumn(), TimeElapsedColumn())
    progress = Progress(*columns, console=Console(stderr=True), transient=True)
    try:
        yield progress
    finally:
        progress.stop()
