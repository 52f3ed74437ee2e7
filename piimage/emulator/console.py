"""The serial console of an emulated board: what it prints, with the time of each line."""

from __future__ import annotations

import codecs
import math
import re
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

_ESCAPES: Final = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[@-Z\\^_=>78]|[\r\0]")
_UNFINISHED: Final = re.compile(r"\x1b(\[[0-9;?]*[ -/]*)?$")
_MAX_LINES: Final = 20_000
_MAX_LINE: Final = 1 << 16
_MAX_PENDING: Final = 1 << 20
_PHASE: Final = "piimage: phase "


@dataclass(frozen=True)
class Line:
    """A line of the console without escapes, and when it was begun.

    `seconds` is wall time and `cpu_seconds` processor time of QEMU, both since it was started.
    """

    text: str
    seconds: float
    cpu_seconds: float


@dataclass(frozen=True)
class Phase:
    """A part of the boot and what it took, in seconds of wall and of processor time."""

    name: str
    seconds: float
    cpu_seconds: float


class Console:
    """Takes in what a machine prints, from one thread, and lets another wait for a text.

    `clock` gives wall and processor seconds since the machine was started.
    """

    def __init__(self, clock: Callable[[], tuple[float, float]]) -> None:
        self._clock = clock
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._changed = threading.Condition()
        self._lines: deque[Line] = deque(maxlen=_MAX_LINES)
        self._held = ""  # the beginning of an escape sequence
        self._open: Line | None = None  # the line that has no end yet
        self._pending = ""  # what no wait has consumed yet
        self._ended = False

    def feed(self, data: bytes) -> None:
        """Take in `data`."""
        text = self._held + self._decoder.decode(data)
        cut = _UNFINISHED.search(text)
        self._held = text[cut.start() :] if cut and len(text) - cut.start() < 64 else ""
        clean = _ESCAPES.sub("", text[: len(text) - len(self._held)])
        with self._changed:
            self._take(clean)
            self._pending = (self._pending + clean)[-_MAX_PENDING:]
            self._changed.notify_all()

    def end(self) -> None:
        """Note that nothing more will come."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def ended(self) -> bool:
        """Whether the machine has gone."""
        with self._changed:
            return self._ended

    def lines(self) -> tuple[Line, ...]:
        """Return the last lines (up to 20000), the unfinished one included."""
        with self._changed:
            return (*self._lines, *([self._open] if self._open is not None else []))

    def wait(self, patterns: Sequence[re.Pattern[str]], timeout: float) -> re.Match[str] | None:
        """Wait until one of `patterns` appears in what no earlier wait has consumed.

        The first in the order of `patterns` counts, and what is up to its end is consumed. None
        when the console ended or `timeout` seconds have passed without it.
        """
        found: re.Match[str] | None = None

        def look() -> bool:
            nonlocal found
            found = next((m for p in patterns if (m := p.search(self._pending))), None)
            return found is not None or self._ended

        with self._changed:
            # An infinite time is too long for the lock below.
            self._changed.wait_for(look, None if math.isinf(timeout) else timeout)
            if found is not None:
                self._pending = self._pending[found.end() :]
            return found

    def _take(self, text: str) -> None:
        seconds, cpu_seconds = self._clock()
        *whole, rest = text.split("\n")
        for part in whole:
            self._lines.append(self._extended(part, seconds, cpu_seconds))
            self._open = None
        if rest:
            self._open = self._extended(rest, seconds, cpu_seconds)

    def _extended(self, text: str, seconds: float, cpu_seconds: float) -> Line:
        begun = self._open or Line("", seconds, cpu_seconds)
        return Line((begun.text + text)[-_MAX_LINE:], begun.seconds, begun.cpu_seconds)


def phases(lines: Sequence[Line]) -> tuple[Phase, ...]:
    """Return the parts of the boot that the lines ``piimage: phase NAME`` mark.

    The first, ``kernel``, goes from QEMU's start to the first mark; each other from its mark to the
    next, the last one to the last line.
    """
    marks = [("kernel", 0.0, 0.0)]
    for line in lines:
        at = line.text.find(_PHASE)
        if at >= 0:
            name = line.text[at + len(_PHASE) :].split() or ["?"]
            marks.append((name[0], line.seconds, line.cpu_seconds))
    end = (lines[-1].seconds, lines[-1].cpu_seconds) if lines else (0.0, 0.0)
    ends = [*((seconds, cpu) for _, seconds, cpu in marks[1:]), end]
    return tuple(
        Phase(name, after[0] - seconds, after[1] - cpu)
        for (name, seconds, cpu), after in zip(marks, ends, strict=True)
    )
