"""Measured values: what was measured, in which unit, when.

A `Measurement` holds a finite and possible value: the constructor raises for any other. So every
`Measurement` may be published. What a chip can measure is narrower. Its driver checks that with
`Limits`, before anything is computed from the value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Self

from sensorkit.errors import InvalidReading


@dataclass(frozen=True, slots=True)
class HomeAssistantForm:
    """How Home Assistant shows a quantity: device class, unit, and the factor to that unit.

    `component` is the kind of its entity: ``sensor``, or ``binary_sensor`` and ``switch`` for what
    is 0 or 1. Home Assistant leaves out an entity whose unit is not one of its device class:
    ``ph`` has none.
    """

    device_class: str | None
    unit: str
    factor: float = 1.0
    digits: int = 2
    component: str = "sensor"


@dataclass(frozen=True, slots=True)
class Quantity:
    """A physical quantity in its SI unit (degrees Celsius for temperatures).

    `name` and `unit_name` make the metric's name by Prometheus' convention, such as
    ``temperature_celsius``. `low` and `high` are the physical bounds. If two samples differ by
    more than `jump`, a further sample must confirm the value; None if the quantity may change
    suddenly.
    """

    name: str
    unit_name: str
    unit: str
    low: float
    high: float
    digits: int
    home_assistant: HomeAssistantForm
    jump: float | None = None
    total: bool = False
    """Whether it is a count that only grows."""

    @property
    def metric(self) -> str:
        """The name and its unit."""
        return f"{self.name}_{self.unit_name}" if self.unit_name else self.name


TEMPERATURE = Quantity(
    *("temperature", "celsius", "°C", -273.15, math.inf, 2),
    HomeAssistantForm("temperature", "°C"),
    jump=1.0,
)
PRESSURE = Quantity(
    *("pressure", "pascals", "Pa", 0, math.inf, 2),
    HomeAssistantForm("atmospheric_pressure", "hPa", 0.01),
    jump=100.0,
)
# Observed weather lies between 870 and 1084 hPa. A value far beyond is due to a wrong altitude.
SEA_LEVEL_PRESSURE = Quantity(
    *("sea_level_pressure", "pascals", "Pa", 80_000, 115_000, 2),
    HomeAssistantForm("atmospheric_pressure", "hPa", 0.01),
)
ALTITUDE = Quantity(
    *("altitude", "meters", "m", -math.inf, 44_330, 2), HomeAssistantForm("distance", "m")
)
HUMIDITY = Quantity(
    *("humidity", "ratio", "1", 0, 1, 4),
    HomeAssistantForm("humidity", "%", 100.0),
    jump=0.05,
)
ILLUMINANCE = Quantity(
    "illuminance", "lux", "lx", 0, math.inf, 2, HomeAssistantForm("illuminance", "lx")
)
# promtool rejects kelvins in a name (it expects celsius), so the name has no unit.
COLOR_TEMPERATURE = Quantity(
    "color_temperature", "", "K", 0, math.inf, 0, HomeAssistantForm(None, "K", digits=0)
)
COLOR = Quantity("color", "ratio", "1", 0, 1, 4, HomeAssistantForm(None, "%", 100.0))
ACCELERATION = Quantity(
    *("acceleration", "meters_per_second_squared", "m/s²", -math.inf, math.inf, 4),
    HomeAssistantForm(None, "m/s²", digits=3),
)
MAGNETIC_FIELD = Quantity(
    *("magnetic_flux_density", "teslas", "T", -math.inf, math.inf, 9),
    HomeAssistantForm(None, "µT", 1e6),
)
HEADING = Quantity("heading", "degrees", "°", 0, 360, 1, HomeAssistantForm(None, "°", digits=1))
VOLTAGE = Quantity(
    *("voltage", "volts", "V", -math.inf, math.inf, 4),
    HomeAssistantForm("voltage", "V", digits=3),
    jump=0.05,
)


@dataclass(frozen=True, slots=True)
class Channel:
    """One series of measurements of a chip: a quantity, with labels where there are several.

    `labels` tell channels of the same quantity apart, as ``(("axis", "x"),)``. `title` is for
    people. `scale` is the factor from the chip's value to the quantity, such as that of a voltage
    divider.
    """

    quantity: Quantity
    title: str
    labels: tuple[tuple[str, str], ...] = field(default=())
    scale: float = 1.0

    @property
    def key(self) -> str:
        """The name without the unit, unique in its station: ``acceleration_x``."""
        words = [self.quantity.name, *(value for _, value in self.labels)]
        return "_".join(words).replace("-", "_")  # a name in the templates of Home Assistant

    @property
    def part(self) -> str:
        """What tells it from other channels of its quantity and sensor: ``x``; else empty."""
        return "_".join(value for name, value in self.labels if name != "sensor")

    @property
    def jump(self) -> float | None:
        """The quantity's jump, which holds at the chip, multiplied by the scale."""
        return None if self.quantity.jump is None else self.quantity.jump * abs(self.scale)

    @property
    def metric_key(self) -> str:
        """The name with the unit at its end, unique in its station: ``voltage_0_volts``."""
        return "_".join(filter(None, [self.key, self.quantity.unit_name]))


@dataclass(frozen=True, slots=True)
class Measurement:
    """A value of a channel in its quantity's unit, at a time in seconds since 1970.

    Raises `InvalidReading` if the value is not finite or not possible.
    """

    channel: Channel
    value: float
    time: float

    def __post_init__(self) -> None:
        quantity = self.channel.quantity
        if not math.isfinite(self.value) or not quantity.low <= self.value <= quantity.high:
            raise InvalidReading(
                f"{self.channel.key} {self.value:g} {quantity.unit} is not between "
                f"{quantity.low:g} and {quantity.high:g}"
            )

    @property
    def rounded(self) -> float:
        """The value, rounded to its significant digits."""
        return round(self.value, self.channel.quantity.digits)


class Sample(tuple[Measurement, ...]):
    """The valid measurements of one reading of a chip.

    `refused` says of each other value of the reading why it is left out.
    """

    refused: tuple[str, ...]

    def __new__(cls, measurements: Iterable[Measurement] = (), refused: Iterable[str] = ()) -> Self:
        """Collect `measurements`, and the reasons of the refused ones in order, once each."""
        sample = super().__new__(cls, measurements)
        sample.refused = tuple(dict.fromkeys(refused))
        return sample


@dataclass(frozen=True, slots=True)
class Limits:
    """The range of a chip by its data sheet, in the quantity's unit; both ends are included."""

    low: float
    high: float

    def checked(self, channel: Channel, value: float) -> float:
        """Return `value`. Raises `InvalidReading` if it is outside of the limits."""
        if not self.low <= value <= self.high:
            raise InvalidReading(
                f"{channel.key} {value:g} {channel.quantity.unit} is not between "
                f"{self.low:g} and {self.high:g}"
            )
        return value


class SampleBuilder:
    """Collects the values of one reading of a chip. An invalid value does not lose the others."""

    def __init__(self, time: float) -> None:
        self._time = time
        self._valid: list[Measurement] = []
        self._refused: list[str] = []

    def add(self, channel: Channel, read: Callable[[], float]) -> None:
        """Add the value that `read` returns, or the reason if it raises `InvalidReading`."""
        try:
            self._valid.append(Measurement(channel, read(), self._time))
        except InvalidReading as error:
            self._refused.append(str(error))

    def sample(self) -> Sample:
        """Return the sample. Raises `InvalidReading` with every reason if no value is valid."""
        sample = Sample(self._valid, self._refused)
        if not sample:
            raise InvalidReading("; ".join(sample.refused))
        return sample


def find(sample: Iterable[Measurement], channel: Channel) -> Measurement | None:
    """Return the measurement of `channel` in `sample`, or None if there is none."""
    return next((m for m in sample if m.channel == channel), None)
