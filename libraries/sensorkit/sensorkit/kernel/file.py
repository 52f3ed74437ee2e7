"""The list of sensors that piimage makes of the YAML file's `sensors:`, as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sensorkit.kernel.devices import I2cPlace, Place, W1Place


@dataclass(frozen=True)
class NamedSensor:
    """A sensor of the file: `every` is in seconds, `offsets` are by quantity, in its unit."""

    name: str
    place: Place
    every: float
    offsets: Mapping[str, float] = field(default_factory=dict)


def read_sensors(path: Path) -> tuple[NamedSensor, ...]:
    """Return the sensors of the file; none if it does not exist. Raises ValueError if it is not
    such a list.
    """
    try:
        entries = json.loads(path.read_text())["sensors"]
        return tuple(map(_sensor, entries))
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"is not piimage's list of sensors ({error})") from error


def _sensor(entry: Mapping[str, Any]) -> NamedSensor:
    place: Place
    if "address" in entry:
        place = I2cPlace(entry["chip"], entry["bus"], int(entry["address"]))
    else:
        place = W1Place(entry["chip"], entry["family"], entry.get("serial"))
    offsets = {str(name): float(amount) for name, amount in entry.get("offset", {}).items()}
    return NamedSensor(str(entry["name"]), place, float(entry["every"]), offsets)
