"""Corrections of a sample: offsets, CPU heat, altitude, pressure at sea level.

The driver has already applied the chip's limits; corrected values may lie beyond them. Only an
impossible result is refused; the other values stay.
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
        """Return the corrected sample. Humidity is limited to 0 to 100 %, as by the chip."""
        return _changed(sample, self.quantity, self._sum)

    def _sum(self, m: Measurement) -> float:
        total = m.value + self.amount
        quantity = m.channel.quantity
        if quantity == HUMIDITY:
            return min(max(total, quantity.low), quantity.high)
        return total


@dataclass(frozen=True)
class CpuHeat:
    """Subtract the heat that the Pi's processor adds to a sensor above it.

    ``T - (T_cpu - T) / factor``: the larger the factor, the smaller the correction. Find the factor
    by comparison with a thermometer elsewhere in the room. It is about 2 to 3 for a pHAT that is
    plugged directly onto the board.
    """

    factor: float
    cpu_celsius: Callable[[], float | None]

    def __call__(self, sample: Sample) -> Sample:
        """Return the sample unchanged if the processor's temperature cannot be read."""
        cpu = self.cpu_celsius()
        if cpu is None:
            return sample
        return _changed(sample, TEMPERATURE.name, lambda m: m.value - (cpu - m.value) / self.factor)


@dataclass(frozen=True)
class CpuThermometer:
    """The processor's temperature from the kernel's thermal framework."""

    path: Path = Path("/sys/class/thermal/thermal_zone0/temp")

    def __call__(self) -> float | None:
        """Return degrees Celsius, or None if they cannot be read."""
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
        """Return the sample and the result. It is refused beyond all weather: a wrong altitude."""
        factor = (1 - self.altitude / 44330) ** 5.255
        return _extended(sample, SEA_LEVEL_CHANNEL, lambda p: p / factor)


@dataclass(frozen=True)
class Altitude:
    """Add the altitude, for a pressure of `sea_level_pascals` at sea level.

    ``44330 (1 - (p / p0)^(1/5.255))``, from the same pressure reading.
    """

    sea_level_pascals: float

    def __call__(self, sample: Sample) -> Sample:
        """Return the sample and the altitude for each pressure in it."""
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
