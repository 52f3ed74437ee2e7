"""What a service makes of a sample: offsets, CPU heat, altitude, pressure at sea level.

The chip's limits have been applied before; what is made of its values may lie beyond them. A
result that there cannot be is left out, and nothing else with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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
        """Nothing is added where the result is no weather's: the altitude is wrong."""
        factor = (1 - self.altitude / 44330) ** 5.255
        return sample + _derived(sample, SEA_LEVEL_CHANNEL, lambda p: p / factor)


@dataclass(frozen=True)
class Altitude:
    """Add the altitude, for a pressure of `sea_level_pascals` at sea level.

    ``44330 (1 - (p / p0)^(1/5.255))``, from the same pressure reading.
    """

    sea_level_pascals: float

    def __call__(self, sample: Sample) -> Sample:
        """The sample, and the altitude of each pressure in it."""
        exponent, reference = 1 / 5.255, self.sea_level_pascals
        return sample + _derived(
            sample, ALTITUDE_CHANNEL, lambda p: 44330 * (1 - (p / reference) ** exponent)
        )


def _changed(sample: Sample, quantity: str, value: Callable[[Measurement], float]) -> Sample:
    """The sample with other values of a quantity."""
    changed: list[Measurement] = []
    for m in sample:
        if m.channel.quantity.name == quantity:
            changed += _possible(m.channel, value(m), m.time)
        else:
            changed.append(m)
    return tuple(changed)


def _derived(sample: Sample, channel: Channel, formula: Callable[[float], float]) -> Sample:
    derived: list[Measurement] = []
    for m in sample:
        if m.channel.quantity == PRESSURE:
            derived += _possible(channel, formula(m.value), m.time)
    return tuple(derived)


def _possible(channel: Channel, value: float, time: float) -> Sample:
    """One measurement, or none where there can be no such value."""
    try:
        return (Measurement(channel, value, time),)
    except InvalidReading:
        return ()
