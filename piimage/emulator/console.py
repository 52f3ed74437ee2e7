"""The serial console of an emulated board: its output, with the time of each line."""

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
    """A line of the console without escape sequences, and the time when it began.

    `seconds` is wall time, `cpu_seconds` processor time of QEMU, both since its start.
    """

    text: str
    seconds: float
    cpu_seconds: float


@dataclass(frozen=True)
class Phase:
    """A part of the boot, with its duration in seconds of wall and of processor time."""

    name: str
    seconds: float
    cpu_seconds: float


class Console:
    """Collects a machine's output in one thread while another thread waits for a text.

    `clock` returns wall and processor seconds since the machine's start.
    """

    def __init__(self, clock: Callable[[], tuple[float, float]]) -> None:
        self._clock = clock
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._changed = threading.Condition()
        self._lines: deque[Line] = deque(maxlen=_MAX_LINES)
        self._escape = ""  # the beginning of an incomplete escape sequence
        self._open: Line | None = None  # the incomplete line
        self._pending = ""  # the output that no wait has consumed
        self._ended = False

    def feed(self, data: bytes) -> None:
        """Add output of the machine."""
        text = self._escape + self._decoder.decode(data)
        cut = _UNFINISHED.search(text)
        self._escape = text[cut.start() :] if cut and len(text) - cut.start() < 64 else ""
        clean = _ESCAPES.sub("", text[: len(text) - len(self._escape)])
        with self._changed:
            self._add(clean)
            self._pending = (self._pending + clean)[-_MAX_PENDING:]
            self._changed.notify_all()

    def end(self) -> None:
        """Note that the output has ended."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def ended(self) -> bool:
        """Whether the output has ended."""
        with self._changed:
            return self._ended

    def lines(self) -> tuple[Line, ...]:
        """Return the last lines (up to 20000), including the incomplete one."""
        with self._changed:
            return (*self._lines, *([self._open] if self._open is not None else []))

    def wait(self, patterns: Sequence[re.Pattern[str]], timeout: float) -> re.Match[str] | None:
        """Wait until one of `patterns` appears in output that no earlier wait has consumed.

        The first of `patterns` that matches is returned, and the output up to its end is consumed.
        Returns None if the output ends, or after `timeout` seconds.
        """
        match: re.Match[str] | None = None

        def matches() -> bool:
            nonlocal match
            match = next((m for p in patterns if (m := p.search(self._pending))), None)
            return match is not None or self._ended

        with self._changed:
            # wait_for takes None, not infinity, for "no timeout".
            self._changed.wait_for(matches, None if math.isinf(timeout) else timeout)
            if match is not None:
                self._pending = self._pending[match.end() :]
            return match

    def _add(self, text: str) -> None:
        seconds, cpu_seconds = self._clock()
        *whole, rest = text.split("\n")
        for part in whole:
            self._lines.append(self._extended(part, seconds, cpu_seconds))
            self._open = None
        if rest:
            self._open = self._extended(rest, seconds, cpu_seconds)

    def _extended(self, text: str, seconds: float, cpu_seconds: float) -> Line:
        line = self._open or Line("", seconds, cpu_seconds)
        return Line((line.text + text)[-_MAX_LINE:], line.seconds, line.cpu_seconds)


def phases(lines: Sequence[Line]) -> tuple[Phase, ...]:
    """Return the parts of the boot that the lines ``piimage: phase NAME`` mark.

    The first part, ``kernel``, lasts from QEMU's start to the first mark. Each other part lasts
    from its mark to the next, the last part to the last line.
    """
    marks = [("kernel", 0.0, 0.0)]
    for line in lines:
        start = line.text.find(_PHASE)
        if start >= 0:
            name = line.text[start + len(_PHASE) :].split() or ["?"]
            marks.append((name[0], line.seconds, line.cpu_seconds))
    end = (lines[-1].seconds, lines[-1].cpu_seconds) if lines else (0.0, 0.0)
    ends = [*((seconds, cpu) for _, seconds, cpu in marks[1:]), end]
    return tuple(
        Phase(name, end_seconds - seconds, end_cpu - cpu)
        for (name, seconds, cpu), (end_seconds, end_cpu) in zip(marks, ends, strict=True)
    )
