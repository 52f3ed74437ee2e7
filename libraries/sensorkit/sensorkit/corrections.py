"""What a service makes of a sample: offsets, CPU heat, altitude, pressure at sea level.

The chip's limits have been applied before; what is made of its values may lie beyond them. A
result that there cannot be is left out, and nothing else with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from sensorkit.errors import InvalidReading
from sensorkit.measurement import (
    ALTITUDE,
    HUMIDITY,
    PRESSURE,
    SEA_LEVEL_PRESSURE,
    TEMPERATURE,
    Channel,
    Measurement,
    Sample,
)

ALTITUDE_CHANNEL = Channel(ALTITUDE, "Altitude")
SEA_LEVEL_CHANNEL = Channel(SEA_LEVEL_PRESSURE, "Pressure at sea level")


@dataclass(frozen=True)
class Offset:
    """Add `amount`, in the quantity's unit, to each channel of a quantity named `quantity`."""

    quantity: str
    amount: float

    def __call__(self, sample: Sample) -> Sample:
        """Humidity stays within 0 to 100 %, as the chip's own formula has it in fog."""
        return _changed(sample, self.quantity, self._sum)

    def _sum(self, m: Measurement) -> float:
        total = m.value + self.amount
        quantity = m.channel.quantity
        if quantity == HUMIDITY:
            return min(max(total, quantity.low), quantity.high)
        return total


@dataclass(frozen=True)
class CpuHeat:
    """Take off what the Pi's processor adds to a sensor that sits above it.

    ``T - (T_cpu - T) / factor``: the larger the factor, the smaller the correction. The factor
    is found by comparing with a thermometer elsewhere in the room; about 2 to 3 for a pHAT
    straight on the board.
    """

    factor: float
    cpu_celsius: Callable[[], float | None]

    def __call__(self, sample: Sample) -> Sample:
        """Unchanged while the processor's temperature cannot be read."""
        cpu = self.cpu_celsius()
        if cpu is None:
            return sample
        return _changed(sample, TEMPERATURE.name, lambda m: m.value - (cpu - m.value) / self.factor)


@dataclass(frozen=True)
class CpuThermometer:
    """The processor's temperature as the kernel's thermal framework gives it."""

    path: Path = Path("/sys/class/thermal/thermal_zone0/temp")

    def __call__(self) -> float | None:
        """Degrees Celsius, or None."""
        try:
            return int(self.path.read_text()) / 1000
        except (OSError, ValueError):
            return None


@dataclass(frozen=True)
class SeaLevelPressure:
    """Add the pressure that a station at `altitude` metres would have at sea level.

    ``p / (1 - h / 44330)^5.255`` (BMP085 data sheet section 3.7; the international formula).
    """

    altitude: float

    def __call__(self, sample: Sample) -> Sample:
        """Refuse a result that no weather has, because the altitude is wrong."""
        factor = (1 - self.altitude / 44330) ** 5.255
        return _extended(sample, SEA_LEVEL_CHANNEL, lambda p: p / factor)


@dataclass(frozen=True)
class Altitude:
    """Add the altitude, for a pressure of `sea_level_pascals` at sea level.

    ``44330 (1 - (p / p0)^(1/5.255))``, from the same pressure reading.
    """

    sea_level_pascals: float

    def __call__(self, sample: Sample) -> Sample:
        """The sample, and the altitude of each pressure in it."""
        exponent, reference = 1 / 5.255, self.sea_level_pascals
        return _extended(
            sample, ALTITUDE_CHANNEL, lambda p: 44330 * (1 - (p / reference) ** exponent)
        )


def _changed(sample: Sample, quantity: str, value: Callable[[Measurement], float]) -> Sample:
    """Return the sample with other values for the channels of `quantity`."""
    parts = (
        _checked(m.channel, value(m), m.time)
        if m.channel.quantity.name == quantity
        else Sample([m])
        for m in sample
    )
    return _joined(Sample((), sample.refused), *parts)


def _extended(sample: Sample, channel: Channel, formula: Callable[[float], float]) -> Sample:
    """Return the sample and what `formula` makes of each of its pressures, in pascals."""
    pressures = (m for m in sample if m.channel.quantity == PRESSURE)
    return _joined(sample, *(_checked(channel, formula(m.value), m.time) for m in pressures))


def _joined(*samples: Sample) -> Sample:
    return Sample(chain(*samples), chain.from_iterable(sample.refused for sample in samples))


def _checked(channel: Channel, value: float, time: float) -> Sample:
    """Return a sample of one measurement, or of one refusal if there can be no such value."""
    try:
        return Sample([Measurement(channel, value, time)])
    except InvalidReading as error:
        return Sample((), [str(error)])
