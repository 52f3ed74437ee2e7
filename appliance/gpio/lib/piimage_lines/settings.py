"""The lines that the Pi holds, as the build lists them in etc/piimage/gpio.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["input", "counter", "output"]


@dataclass(frozen=True)
class Line:
    """One line of a GPIO chip; `debounce` is in seconds.

    The states are those of an output: at boot, when the program that set it last is gone, and at
    shutdown. None leaves the output as it is.
    """

    name: str
    kind: Kind
    chip: str
    offset: int
    active_low: bool = False
    pull: str | None = None
    debounce: float = 0.0
    at_boot: bool = False
    on_failure: bool | None = False
    at_shutdown: bool | None = False


def read_lines(path: str) -> tuple[Line, ...]:
    """Return the lines of the list. Raises ValueError if it is damaged."""
    try:
        with open(path, encoding="utf-8") as file:
            return tuple(_line(entry) for entry in json.load(file)["lines"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} is not piimage's list of GPIO lines ({error})") from error


def _line(entry: Mapping[str, Any]) -> Line:
    return Line(
        entry["name"],
        entry["kind"],
        entry["chip"],
        int(entry["line"]),
        bool(entry.get("active_low", False)),
        entry.get("pull"),
        float(entry.get("debounce", 0)),
        bool(entry.get("at_boot", False)),
        entry.get("on_failure", False),
        entry.get("at_shutdown", False),
    )
