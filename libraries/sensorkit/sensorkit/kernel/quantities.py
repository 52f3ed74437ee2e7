"""What the kernel's channels measure, and the factor from the kernel's unit to the quantity's.

Sources: Documentation/ABI/testing/sysfs-bus-iio, Documentation/hwmon/sysfs-interface.rst.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from sensorkit.measurement import (
    ACCELERATION,
    HUMIDITY,
    ILLUMINANCE,
    MAGNETIC_FIELD,
    PRESSURE,
    TEMPERATURE,
    VOLTAGE,
    HomeAssistantForm,
    Quantity,
)


@dataclass(frozen=True, slots=True)
class KernelUnit:
    """A quantity, and what one unit of the kernel's value is in the quantity's unit.

    `scaled` is False if raw values have a meaning without a scale, as counts have.
    """

    quantity: Quantity
    factor: float
    scaled: bool = True


def _quantity(
    name: str,
    unit_name: str,
    unit: str,
    digits: int,
    form: HomeAssistantForm,
    *,
    low: float = -math.inf,
) -> Quantity:
    return Quantity(name, unit_name, unit, low, math.inf, digits, form)


# The kernel's inputs may be anything that a person connects, which may change at any time.
_VOLTAGE = replace(VOLTAGE, digits=6, jump=None)
_INTENSITY = _quantity(
    "intensity", "", "", 2, HomeAssistantForm(None, "counts", digits=0), low=0
)  # fmt: skip
_PROXIMITY = _quantity("proximity", "", "", 2, HomeAssistantForm(None, "counts", digits=0))
_DISTANCE = _quantity("distance", "meters", "m", 4, HomeAssistantForm("distance", "m", digits=3))
_CURRENT = _quantity("current", "amperes", "A", 6, HomeAssistantForm("current", "A", digits=4))
_POWER = _quantity("power", "watts", "W", 6, HomeAssistantForm("power", "W", digits=4))
_ENERGY = replace(
    _quantity("energy", "joules", "J", 3, HomeAssistantForm("energy", "J", digits=1)), total=True
)
_RESISTANCE = _quantity("resistance", "ohms", "Ω", 3, HomeAssistantForm(None, "Ω", digits=1))
_CAPACITANCE = _quantity("capacitance", "farads", "F", 15, HomeAssistantForm(None, "nF", 1e9, 3))
_ROTATION = _quantity(
    "angular_velocity", "radians_per_second", "rad/s", 5, HomeAssistantForm(None, "rad/s", digits=4)
)
_ANGLE = _quantity("angle", "radians", "rad", 5, HomeAssistantForm(None, "°", 57.29577951308232, 1))
_INCLINATION = _quantity("inclination", "degrees", "°", 3, HomeAssistantForm(None, "°", digits=1))
_SPEED = _quantity("velocity", "meters_per_second", "m/s", 4, HomeAssistantForm("speed", "m/s"))
_CONCENTRATION = _quantity(
    "concentration", "ratio", "1", 9, HomeAssistantForm(None, "ppm", 1e6, 1), low=0
)
_PARTICLES = _quantity(
    *("mass_concentration", "grams_per_cubic_meter", "g/m³", 9),
    HomeAssistantForm(None, "µg/m³", 1e6, 1),
    low=0,
)
_UV_INDEX = _quantity("uv_index", "", "", 2, HomeAssistantForm(None, "UV index"), low=0)
_PH = _quantity("ph", "", "", 3, HomeAssistantForm("ph", ""))
_CONDUCTIVITY = _quantity(
    "conductivity", "siemens_per_meter", "S/m", 6, HomeAssistantForm(None, "S/m", digits=4)
)
_STEPS = _quantity("steps", "", "", 0, HomeAssistantForm(None, "steps", digits=0), low=0)
_FAN = _quantity("fan", "rpm", "rpm", 0, HomeAssistantForm(None, "rpm", digits=0), low=0)

IIO: Mapping[str, KernelUnit] = MappingProxyType(
    {
        "accel": KernelUnit(ACCELERATION, 1.0),
        "gravity": KernelUnit(replace(ACCELERATION, name="gravity"), 1.0),
        "angl": KernelUnit(_ANGLE, 1.0),
        "anglvel": KernelUnit(_ROTATION, 1.0),
        "capacitance": KernelUnit(_CAPACITANCE, 1e-9),
        "concentration": KernelUnit(_CONCENTRATION, 0.01),  # percent
        "current": KernelUnit(_CURRENT, 0.001),
        "distance": KernelUnit(_DISTANCE, 1.0),
        "electricalconductivity": KernelUnit(_CONDUCTIVITY, 1.0),
        "energy": KernelUnit(_ENERGY, 1.0),
        "humidityrelative": KernelUnit(HUMIDITY, 1e-5),  # thousandths of a percent
        "illuminance": KernelUnit(ILLUMINANCE, 1.0),
        "incli": KernelUnit(_INCLINATION, 1.0),
        "intensity": KernelUnit(_INTENSITY, 1.0, scaled=False),
        "magn": KernelUnit(MAGNETIC_FIELD, 1e-4),  # gauss
        "massconcentration": KernelUnit(_PARTICLES, 1e-6),
        "ph": KernelUnit(_PH, 1.0),
        "power": KernelUnit(_POWER, 0.001),
        "pressure": KernelUnit(PRESSURE, 1000.0),
        "proximity": KernelUnit(_PROXIMITY, 1.0, scaled=False),
        "resistance": KernelUnit(_RESISTANCE, 1.0),
        "steps": KernelUnit(_STEPS, 1.0, scaled=False),
        "temp": KernelUnit(TEMPERATURE, 0.001),
        "uvindex": KernelUnit(_UV_INDEX, 1.0),
        "velocity": KernelUnit(_SPEED, 1.0),
        "voltage": KernelUnit(_VOLTAGE, 0.001),
    }
)
SCALED_PROXIMITY = KernelUnit(_DISTANCE, 1.0)
"""A proximity with a scale is a distance in metres."""

HWMON: Mapping[str, KernelUnit] = MappingProxyType(
    {
        "curr": KernelUnit(_CURRENT, 0.001),
        "energy": KernelUnit(_ENERGY, 1e-6),
        "fan": KernelUnit(_FAN, 1.0),
        "humidity": KernelUnit(HUMIDITY, 1e-5),
        "in": KernelUnit(_VOLTAGE, 0.001),
        "power": KernelUnit(_POWER, 1e-6),
        "temp": KernelUnit(TEMPERATURE, 0.001),
    }
)
QUANTITIES: tuple[str, ...] = tuple(
    sorted({u.quantity.name for table in (IIO, HWMON) for u in table.values()} | {_DISTANCE.name})
)
"""The names of all quantities, for which a sensor may have an offset."""
