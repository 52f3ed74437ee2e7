"""The list of sensors that piimage makes of the YAML file's `sensors:`, as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sensorkit.gpio.sensor import QUANTITIES, NamedLine
from sensorkit.kernel.devices import I2cPlace, Place, SpiPlace, W1Place
from sensorkit.smoothing import METHODS


@dataclass(frozen=True)
class NamedSensor:
    """A sensor of the file: `every` is in seconds, `offsets` are by quantity, in its unit.

    `smoothing` is a method of `smoothing.METHODS` and a number of samples. With `is_buffered`, the
    kernel samples the chip by itself.
    """

    name: str
    place: Place
    every: float
    offsets: Mapping[str, float] = field(default_factory=dict)
    smoothing: tuple[str, int] | None = None
    is_buffered: bool = False


@dataclass(frozen=True)
class Listed:
    """What the file names: chips, and GPIO lines."""

    sensors: tuple[NamedSensor, ...] = ()
    lines: tuple[NamedLine, ...] = ()


def read_list(path: Path) -> Listed:
    """Return what the file names; nothing if it does not exist. Raises ValueError if it is not
    such a list.
    """
    try:
        document = json.loads(path.read_text())
        sensors = tuple(map(_sensor, document["sensors"]))
        return Listed(sensors, tuple(map(_line, document.get("lines", ()))))
    except FileNotFoundError:
        return Listed()
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"is not piimage's list of sensors ({error})") from error


def _sensor(entry: Mapping[str, Any]) -> NamedSensor:
    place: Place
    if "address" in entry:
        place = I2cPlace(entry["chip"], entry["bus"], int(entry["address"]))
    elif "cs" in entry:
        place = SpiPlace(entry["chip"], entry["bus"], int(entry["cs"]))
    else:
        place = W1Place(entry["chip"], entry["family"], entry.get("serial"))
    offsets = {str(name): float(amount) for name, amount in entry.get("offset", {}).items()}
    return NamedSensor(
        str(entry["name"]),
        place,
        float(entry["every"]),
        offsets,
        _smoothing(entry.get("filter")),
        is_buffered="rate" in entry,
    )


def _smoothing(entry: Mapping[str, Any] | None) -> tuple[str, int] | None:
    if entry is None:
        return None
    ((method, count),) = entry.items()
    if method not in METHODS:
        raise ValueError(f"{method!r} is no filter")
    return method, int(count)


def _line(entry: Mapping[str, Any]) -> NamedLine:
    kind = entry["kind"]
    if kind not in QUANTITIES:
        raise ValueError(f"{kind!r} is no kind of line")
    return NamedLine(str(entry["name"]), kind, int(entry["line"]), float(entry["every"]))
