"""GPIO lines as drivers in the sense of sensorkit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from sensorkit.clock import Clock
from sensorkit.errors import BusError
from sensorkit.gpio.client import LinesClient
from sensorkit.measurement import Channel, HomeAssistantForm, Measurement, Quantity, Sample

Kind = Literal["input", "counter", "output"]

_INPUT = Quantity(
    *("input_active", "", "", 0, 1, 0),
    HomeAssistantForm(None, "", digits=0, component="binary_sensor"),
)
_OUTPUT = Quantity(
    *("output_active", "", "", 0, 1, 0),
    HomeAssistantForm(None, "", digits=0, component="switch"),
)
_PULSES = Quantity(
    *("pulses", "", "", 0, math.inf, 0),
    HomeAssistantForm(None, "pulses", digits=0),
    total=True,
)
QUANTITIES: Mapping[Kind, Quantity] = MappingProxyType(
    {"input": _INPUT, "counter": _PULSES, "output": _OUTPUT}
)
"""What each kind of line publishes."""
_KEYS: Mapping[Kind, str] = MappingProxyType(
    {"input": "active", "output": "active", "counter": "count"}
)


@dataclass(frozen=True)
class NamedLine:
    """A line of the file; `every` is the longest time between two samples, in seconds."""

    name: str
    kind: Kind
    number: int
    every: float


class LineSensor:
    """One line by its name."""

    def __init__(self, line: NamedLine, client: LinesClient, clock: Clock) -> None:
        self._line = line
        self._client = client
        self._clock = clock
        self._published: Any = None
        quantity = QUANTITIES[line.kind]
        words = quantity.name.replace("_", " ")
        self.channels = (Channel(quantity, f"{line.name}: {words}", (("sensor", line.name),)),)

    @property
    def model(self) -> str:
        """The number of the line, as people know it."""
        return f"gpio{self._line.number}"

    def start(self) -> None:
        """Connect to the program that holds the lines."""
        self._client.start()

    def sample(self) -> Sample:
        """Return the state as it was told last. Raises `BusError` if the line is not held."""
        value = self._value()
        self._published = value
        return Sample([Measurement(self.channels[0], float(value), self._clock.time())])

    def changed(self) -> bool:
        """Return whether the line differs from the last sample. Counts can wait for the next."""
        if self._line.kind == "counter":
            return False
        try:
            return bool(self._value() != self._published)
        except BusError:
            return False  # the next sample says so

    def set(self, value: bool) -> None:
        """Ask for the state of an output."""
        self._client.set(self._line.name, value)

    def _value(self) -> Any:  # noqa: ANN401 -- a number or a truth value
        return self._client.line(self._line.name)[_KEYS[self._line.kind]]
