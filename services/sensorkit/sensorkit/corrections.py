"""What a service makes of a sample: offsets, CPU heat, altitude, pressure at sea level."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from sensorkit.measurement import (
    ALTITUDE,
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
        """Raises `InvalidReading` when the sum is not plausible."""
        return tuple(
            replace(m, value=m.value + self.amount)
            if m.channel.quantity.name == self.quantity
            else m
            for m in sample
        )


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
        return tuple(
            replace(m, value=m.value - (cpu - m.value) / self.factor)
            if m.channel.quantity == TEMPERATURE
            else m
            for m in sample
        )


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
        """Raises `InvalidReading` when the result is not plausible: the altitude is wrong."""
        factor = (1 - self.altitude / 44330) ** 5.255
        return sample + _derived(sample, SEA_LEVEL_CHANNEL, lambda p: p / factor)


@dataclass(frozen=True)
class Altitude:
    """Add the altitude, for a pressure of `sea_level_pascals` at sea level.

    ``44330 (1 - (p / p0)^(1/5.255))``, from the same pressure reading.
    """

    sea_level_pascals: float

    def __call__(self, sample: Sample) -> Sample:
        """Raises `InvalidReading` when the result is not plausible."""
        exponent, reference = 1 / 5.255, self.sea_level_pascals
        return sample + _derived(
            sample, ALTITUDE_CHANNEL, lambda p: 44330 * (1 - (p / reference) ** exponent)
        )


def _derived(sample: Sample, channel: Channel, formula: Callable[[float], float]) -> Sample:
    return tuple(
        Measurement(channel, formula(m.value), m.time)
        for m in sample
        if m.channel.quantity == PRESSURE
    )
