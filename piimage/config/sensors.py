"""The section `sensors:`: chips that the kernel's own drivers measure."""

import re
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from piimage.config.values import (
    Interval,
    Part,
    Texts,
    as_text,
    closest,
    did_you_mean,
    form,
    problem,
    quoted,
)

W1_FAMILIES: Final = {
    "ds18s20": "10",
    "ds1822": "22",
    "ds18b20": "28",
    "ds1825": "3b",
    "ds28ea00": "42",
}
"""The family codes of 1-Wire thermometers, by their data sheets: the first byte of a chip's serial
number. The kernel's modules name families only."""

QUANTITIES: Final = (
    "acceleration", "angle", "angular_velocity", "capacitance", "concentration", "conductivity",
    "current", "distance", "energy", "fan", "gravity", "humidity", "illuminance", "inclination",
    "intensity", "magnetic_flux_density", "mass_concentration", "ph", "power", "pressure",
    "proximity", "resistance", "steps", "temperature", "uv_index", "velocity", "voltage",
)  # fmt: skip
"""What `use: sensors` publishes (sensorkit/kernel/quantities.py)."""

_LOWEST: Final = 0x03  # lower ones are reserved (UM10204, 3.1.12)
_HIGHEST: Final = 0x77
_MOST_RECORDS: Final = 20_000
"""What the FIFO to the service holds (1 MiB), of chips with up to 16 channels and a time."""
_PLACES: Final = {
    "i2c": "address: for a chip on I2C",
    "spi": "cs: for a chip on SPI",
    "w1": "serial:, or neither for all chips",
}
"""By kind of bus: the key that tells the place of a chip on it."""
_KEYS: Final = {
    "address": ("i2c", "I2C"),
    "cs": ("spi", "SPI"),
    "mode": ("spi", "SPI"),
    "speed": ("spi", "SPI"),
    "serial": ("w1", "1-Wire"),
}
"""By key: the kind of bus that it is for."""
_TEXT_OR_NUMBER: Final = [{"type": "string"}, {"type": "integer"}]


def _address(value: object) -> int:
    """Return an address; text may be hexadecimal."""
    text = as_text(value)
    try:
        number = int(text, 0) if isinstance(text, str) else -1
    except ValueError:
        number = -1
    if not _LOWEST <= number <= _HIGHEST:
        raise problem(
            f"{quoted(value)} is not a valid address on an I2C bus", "0x03 to 0x77, such as 0x76"
        )
    return number


def _bus(value: object) -> object:
    """Return the name of a bus, which people also know by its device node."""
    text = as_text(value)
    if not isinstance(text, str):
        return value
    return _known_bus(text.removeprefix("/dev/").replace("i2c-", "i2c"))


def _known_bus(value: str) -> str:
    if match := re.fullmatch(r"(?:spidev|spi)(\d+)\.(\d+)", value):
        raise problem(
            f"{quoted(value)} is a chip on a bus, not a bus", f"bus: spi{match[1]}, cs: {match[2]}"
        )
    return value


def _offsets(value: dict[str, float]) -> dict[str, float]:
    for name in value:
        if name not in QUANTITIES:
            raise problem(f"there is no quantity {quoted(name)}", did_you_mean(name, QUANTITIES))
    return value


# The kernel has room for 20 bytes (I2C_NAME_SIZE), one of which is the end.
ChipName = Annotated[
    str,
    BeforeValidator(as_text),
    *form(
        r"[A-Za-z0-9][A-Za-z0-9_.-]{0,18}",
        "chip",
        "its name in the kernel, as `piimage sensors` lists it",
    ),
]
SensorName = Annotated[
    str,
    *form(
        r"[a-z][a-z0-9_]{0,31}",
        "name of a sensor",
        "at most 32 lower case letters, digits and _, such as greenhouse",
    ),
]
BusName = Annotated[
    str,
    BeforeValidator(_bus),
    *form(
        r"i2c[0-9]{1,3}|spi[0-9]{1,3}|w1",
        "bus",
        "i2c1 (/dev/i2c-1), spi0 with cs: 0 or 1, or w1 (1-Wire)",
    ),
]
Address = Annotated[int, BeforeValidator(_address), WithJsonSchema({"anyOf": _TEXT_OR_NUMBER})]
Serial = Annotated[
    str,
    BeforeValidator(as_text),
    *form(
        r"[0-9a-f]{2}-[0-9a-f]{12}",
        "serial number",
        "that of the kernel, such as 28-000005e2fdc3",
    ),
]


class Smoothing(Part):
    """What is published of the last samples of a sensor."""

    median: Annotated[int, Field(ge=3, le=99)] | None = Field(
        default=None,
        description="Number of samples whose median is published: a single wrong value has no "
        "effect.",
    )
    mean: Annotated[int, Field(ge=2, le=99)] | None = Field(
        default=None, description="Number of samples whose mean is published: there is less noise."
    )

    @model_validator(mode="after")
    def _one_method(self) -> Self:
        if (self.median is None) == (self.mean is None):
            raise problem("a filter is either a median or a mean", "{ median: 5 }, or { mean: 10 }")
        return self


class Sensor(Part):
    """A chip that a driver of the kernel measures."""

    name: SensorName | None = Field(
        default=None,
        description="Name of the sensor in metrics, topics and pages; unique. A chip without a "
        "name is only made known to the kernel, such as the master of a 1-Wire bus.",
    )
    chip: ChipName = Field(
        description="The chip, by its name in the kernel; `piimage sensors` lists them."
    )
    bus: BusName = Field(description="The bus: i2c1 for /dev/i2c-1, spi0, or w1 for 1-Wire.")
    address: Address | None = Field(default=None, description="The chip's address on an I2C bus.")
    cs: Annotated[int, Field(ge=0, le=7)] | None = Field(
        default=None,
        description="With bus: spi0, the chip select: 0 is CE0 (pin 24), 1 is CE1 (pin 26).",
    )
    mode: Annotated[int, Field(ge=0, le=3)] = Field(
        default=0,
        description="On SPI: polarity and phase of the clock, by the data sheet; a driver may set "
        "them itself.",
    )
    speed: Annotated[int, Field(ge=1_000, le=50_000_000)] = Field(
        default=1_000_000, description="On SPI: the highest frequency of the clock, in Hz."
    )
    serial: Serial | None = Field(
        default=None,
        description="With bus: w1, the serial number of one chip, such as 28-000005e2fdc3 "
        "(default: all chips of this kind, each by its serial number).",
    )
    every: Interval = Field(default=10, description="With `use: sensors`: time between samples.")
    offset: Annotated[dict[str, float], AfterValidator(_offsets)] = Field(
        default={},
        description="With `use: sensors`: amounts to add, by quantity and in the unit of its "
        "metric, such as { temperature: -0.8 }.",
    )
    rate: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        default=None,
        description="Samples that the kernel takes in a second by itself, on I2C or SPI and if the "
        "driver has a buffer. `use: sensors` publishes their mean, minimum and maximum.",
    )
    filter: Smoothing | None = Field(
        default=None,
        description="With `use: sensors`: publish the median or the mean of the last samples "
        "(default: each sample).",
    )
    oversampling: Annotated[int, Field(ge=1, le=65536)] | None = Field(
        default=None,
        description="Measurements that the chip averages for one value, for all quantities whose "
        "driver lets it be chosen (default: the driver's).",
    )
    settings: Texts = Field(
        default={},
        description="Files of the kernel's device to write once its driver is bound, such as "
        "{ in_temp_oversampling_ratio: 16 }.",
    )

    @model_validator(mode="before")
    @classmethod
    def _of_bus(cls, data: Any) -> Any:  # noqa: ANN401  # any YAML
        """Refuse a key of the other kind of bus, and a 1-Wire chip that has no family code."""
        if not isinstance(data, dict):
            return data
        kind = _kind(str(_bus(as_text(data.get("bus")))))
        for key, (own, whose) in _KEYS.items():
            if data.get(key) is not None and kind not in ("", own):
                raise problem(f"{key}: is for chips on {whose}", _PLACES[kind])
        chip = as_text(data.get("chip"))
        if kind == "w1" and isinstance(chip, str) and chip not in W1_FAMILIES:
            instead = closest(chip, W1_FAMILIES) or f"one of {', '.join(sorted(W1_FAMILIES))}"
            raise problem(f"{quoted(chip)} is no thermometer on 1-Wire", instead)
        return data

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.kind == "i2c" and self.address is None:
            raise problem("a chip on I2C without an address", "address: such as 0x76")
        if self.kind == "spi" and self.cs is None:
            raise problem("a chip on SPI without a chip select", "cs: 0 (CE0) or cs: 1 (CE1)")
        family = W1_FAMILIES.get(self.chip) if self.kind == "w1" else None
        if family and self.serial is not None and not self.serial.startswith(f"{family}-"):
            raise problem(
                f"{quoted(self.serial)} is no {self.chip}",
                f"a serial number that begins with {family}-",
            )
        self._check_sampling()
        for name, value in self.settings.items():
            if not all(_is_word(text) for text in (name, value)):
                raise problem(
                    f"{quoted(f'{name}: {value}')} is no setting of a device",
                    "NAME: VALUE in letters, digits, '_', '.', '+' and '-', such as "
                    "in_temp_oversampling_ratio: 16",
                )
        return self

    def _check_sampling(self) -> None:
        for key in ("settings", "oversampling", "rate"):
            if self.kind == "w1" and getattr(self, key):
                raise problem(
                    f"{key}: is for chips on I2C and SPI", "filter: for a mean of several samples"
                )
        if self.rate and not self.name:
            raise problem("rate: without a name: nobody reads the values", "name: such as gate")
        if self.rate and self.rate * self.every > _MOST_RECORDS:
            raise problem(
                f"{self.rate * self.every} samples between two values do not fit into the buffer",
                f"every: {_MOST_RECORDS // self.rate}s at most",
            )

    @property
    def kind(self) -> str:
        """The kind of its bus: ``i2c``, ``spi`` or ``w1``."""
        return _kind(self.bus)

    @property
    def label(self) -> str:
        """The name of the sensor in messages."""
        if self.name or self.kind == "w1":
            return self.name or self.chip
        return (
            f"{self.chip}@{self.cs}" if self.address is None else f"{self.chip}@{self.address:02x}"
        )

    @property
    def alias(self) -> str:
        """The kernel's name of such a device: what a module's alias has to match."""
        family = W1_FAMILIES[self.chip] if self.kind == "w1" else ""
        return f"w1-family-0x{family.upper()}" if family else f"{self.kind}:{self.chip}"


def _kind(bus: str) -> str:
    """Return the kind of a bus; empty if it is none."""
    return next((kind for kind in _PLACES if bus.startswith(kind)), "")


def _is_word(text: str) -> bool:
    return bool(text) and all(c.isascii() and (c.isalnum() or c in "_.+-") for c in text)
