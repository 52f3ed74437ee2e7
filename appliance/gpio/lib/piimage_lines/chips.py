"""Lines of the kernel's GPIO chips, by libgpiod."""

from __future__ import annotations

import glob
from datetime import timedelta

import gpiod
from gpiod.line import Bias, Direction, Edge, Value

from piimage_lines.held import Held, LineError
from piimage_lines.settings import Line

CONSUMER = "piimage"
_EVENTS = 1024
"""Edges that the kernel keeps for a line until they are read: the most that it offers."""
_BIAS = {"up": Bias.PULL_UP, "down": Bias.PULL_DOWN, "none": Bias.DISABLED}


def hold(line: Line) -> Held:
    """Request `line` from the kernel: see `held.Hold`."""
    path = _path(line.chip)
    if path is None:
        raise LineError(f"there is no GPIO chip {line.chip}")
    try:
        request = gpiod.request_lines(
            path,
            consumer=f"{CONSUMER} {line.name}",
            config={line.offset: _settings(line)},
            event_buffer_size=_EVENTS,
        )
    except (OSError, ValueError) as error:
        raise LineError(_reason(line, path, error)) from error
    return _Line(request, line.offset)


class _Line:
    def __init__(self, request: gpiod.LineRequest, offset: int) -> None:
        self._request = request
        self._offset = offset
        self._seen = 0  # edges of this request, which the kernel numbers from 1

    def fileno(self) -> int:
        return int(self._request.fd)

    def value(self) -> bool:
        return bool(self._request.get_value(self._offset) is Value.ACTIVE)

    def set(self, value: bool) -> None:
        self._request.set_value(self._offset, Value.ACTIVE if value else Value.INACTIVE)

    def edges(self) -> tuple[int, bool]:
        last = self._request.read_edge_events(_EVENTS)[-1]
        # The kernel's own number of the edge: those that did not fit into its buffer count too.
        count = last.line_seqno - self._seen
        self._seen = last.line_seqno
        return count, last.event_type is last.Type.RISING_EDGE

    def close(self) -> None:
        self._request.release()


def _settings(line: Line) -> gpiod.LineSettings:
    if line.kind == "output":
        value = Value.ACTIVE if line.at_boot else Value.INACTIVE
        return gpiod.LineSettings(
            direction=Direction.OUTPUT, output_value=value, active_low=line.active_low
        )
    return gpiod.LineSettings(
        direction=Direction.INPUT,
        edge_detection=Edge.RISING if line.kind == "counter" else Edge.BOTH,
        bias=_BIAS.get(line.pull or "", Bias.AS_IS),
        active_low=line.active_low,
        debounce_period=timedelta(seconds=line.debounce),
    )


def _path(label: str) -> str | None:
    """Return the device of the chip whose label begins with `label`."""
    for path in sorted(glob.glob("/dev/gpiochip*")):
        try:
            with gpiod.Chip(path) as chip:
                if chip.get_info().label.startswith(label):
                    return path
        except OSError:
            continue
    return None


def _reason(line: Line, path: str, error: Exception) -> str:
    try:
        with gpiod.Chip(path) as chip:
            info = chip.get_line_info(line.offset)
            if info.used:
                return f"line {line.offset} of {line.chip} is used by {info.consumer or 'a driver'}"
    except (OSError, ValueError):
        pass
    return f"line {line.offset} of {line.chip}: {getattr(error, 'strerror', None) or error}"
