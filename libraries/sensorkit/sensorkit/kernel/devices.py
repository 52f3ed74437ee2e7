"""Drivers in the sense of sensorkit whose chips are driven by the kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from sensorkit.clock import Clock
from sensorkit.errors import BusError, InvalidReading
from sensorkit.kernel.buffered import Buffered, Fifo
from sensorkit.kernel.sysfs import (
    Labels,
    Source,
    device_sources,
    hwmon_sources,
    iio_sources,
    line,
    names,
    zone_source,
)
from sensorkit.measurement import Channel, Sample, SampleBuilder

SYS = Path("/sys")


@dataclass(frozen=True)
class I2cPlace:
    """A chip on an I2C bus, such as 0x76 on ``i2c1``."""

    chip: str
    bus: str
    address: int
    several: ClassVar[bool] = False

    def folder(self, sys: Path) -> Path:
        """Return the folder of the kernel's device."""
        number = self.bus.removeprefix("i2c")
        return sys / "bus/i2c/devices" / f"{number}-{self.address:04x}"

    def sources(self, sys: Path, name: str) -> tuple[Source, ...]:
        """Return what the chip measures. Raises `BusError` if the kernel does not drive it."""
        device = self.folder(sys)
        where = f"0x{self.address:02x} on {self.bus}"
        if not (sys / "bus/i2c/devices" / self.bus.replace("i2c", "i2c-")).exists():
            raise BusError(f"there is no bus {self.bus}; is its overlay applied?")
        if not (device / "driver").exists():
            raise BusError(f"no {self.chip} answers at {where}; check wiring, power and address")
        return _some(device_sources(device, name, (("sensor", name),)), f"{self.chip} at {where}")

    def owns(self, sys: Path, device: Path) -> bool:
        """Return whether the resolved path `device` belongs to this chip."""
        return device.is_relative_to(self.folder(sys).resolve())


@dataclass(frozen=True)
class SpiPlace:
    """A chip on an SPI bus, such as the chip select 0 of ``spi0``."""

    chip: str
    bus: str
    select: int
    several: ClassVar[bool] = False

    def folder(self, sys: Path) -> Path:
        """Return the folder of the kernel's device."""
        return sys / "bus/spi/devices" / f"{self.bus}.{self.select}"

    def sources(self, sys: Path, name: str) -> tuple[Source, ...]:
        """Return what the chip measures. Raises `BusError` if the kernel does not drive it."""
        device = self.folder(sys)
        where = f"chip select {self.select} of {self.bus}"
        if not device.exists():
            raise BusError(f"there is no device at {where}; is the overlay {self.bus} applied?")
        if not (device / "driver").exists():
            raise BusError(f"no {self.chip} answers at {where}; check wiring and power")
        return _some(device_sources(device, name, (("sensor", name),)), f"{self.chip} at {where}")

    def owns(self, sys: Path, device: Path) -> bool:
        """Return whether the resolved path `device` belongs to this chip."""
        return device.is_relative_to(self.folder(sys).resolve())


@dataclass(frozen=True)
class W1Place:
    """A chip on a 1-Wire bus by its serial number, or every chip of its family."""

    chip: str
    family: str
    serial: str | None = None

    @property
    def several(self) -> bool:
        """Whether any number of chips may be here, which come and go."""
        return self.serial is None

    def sources(self, sys: Path, name: str) -> tuple[Source, ...]:
        """Return what the chips measure; if `serial` is not set, a label has that of each.

        Raises `BusError` if there is none.
        """
        found = [device for device in self._devices(sys) if device.exists()]
        if not found:
            wanted = self.serial or f"{self.family}-*"
            raise BusError(f"no {self.chip} ({wanted}) answers on the 1-Wire bus; check wiring")
        return _some(tuple(self._all(found, name)), f"{self.chip} on the 1-Wire bus")

    def owns(self, sys: Path, device: Path) -> bool:
        """Return whether the resolved path `device` belongs to this chip, or to one of these."""
        return any(device.is_relative_to(own.resolve()) for own in self._devices(sys))

    def _devices(self, sys: Path) -> list[Path]:
        folder = sys / "bus/w1/devices"
        if self.serial is not None:
            return [folder / self.serial]
        return [folder / entry for entry in names(folder) if entry.startswith(f"{self.family}-")]

    def _all(self, devices: list[Path], name: str) -> Iterator[Source]:
        for device in devices:
            labels: Labels = (("sensor", name),)
            if self.serial is None:
                labels = (*labels, ("serial", device.name))
                yield from device_sources(device, f"{name} {device.name}", labels)
            else:
                yield from device_sources(device, name, labels)


Place = I2cPlace | SpiPlace | W1Place


def _some(sources: tuple[Source, ...], what: str) -> tuple[Source, ...]:
    if not sources:
        raise BusError(f"the driver of {what} has no value that this service can read")
    return sources


class KernelSensor:
    """One chip, or the chips of one family, by its name in the file."""

    def __init__(self, name: str, place: Place, clock: Clock, sys: Path = SYS) -> None:
        self._name = name
        self._place = place
        self._clock = clock
        self._sys = sys
        self._sources: tuple[Source, ...] = ()

    @property
    def model(self) -> str:
        """The name of the chip."""
        return self._place.chip

    @property
    def channels(self) -> tuple[Channel, ...]:
        """What the chip measures; nothing until it was found."""
        return tuple(source.channel for source in self._sources)

    def start(self) -> None:
        """Find the kernel's device. Raises `BusError` if there is none, or no driver for it."""
        self._sources = self._place.sources(self._sys, self._name)

    def sample(self) -> Sample:
        """Read each value. Raises `BusError` if the chip does not answer."""
        if not self._place.several:
            return _read(self._sources, self._clock)
        self.start()
        return _read(tuple(map(_alone, self._sources)), self._clock)


class BufferedSensor:
    """One chip that the kernel samples many times a second, by its name in the file.

    `fifo` has the records of the kernel's buffer.
    """

    def __init__(
        self, name: str, place: I2cPlace | SpiPlace, clock: Clock, fifo: Fifo, sys: Path = SYS
    ) -> None:
        self._name = name
        self._place = place
        self._clock = clock
        self._fifo = fifo
        self._sys = sys
        self._buffer: Buffered | None = None

    @property
    def model(self) -> str:
        """The name of the chip."""
        return self._place.chip

    @property
    def channels(self) -> tuple[Channel, ...]:
        """What the chip measures; nothing until it was found."""
        return () if self._buffer is None else self._buffer.channels

    def start(self) -> None:
        """Find the kernel's device. Raises `BusError` if there is none, or it has no buffer."""
        sources = self._place.sources(self._sys, self._name)
        devices = sorted(self._place.folder(self._sys).glob("iio:device*"))
        if not devices:
            raise BusError("the driver has no buffer, which rate: needs")
        self._buffer = Buffered(devices[0], sources, self._fifo)

    def sample(self) -> Sample:
        """Return what came since the last sample. Raises `BusError` if nothing did."""
        if self._buffer is None:
            raise BusError("not started")
        builder = SampleBuilder(self._clock.time())
        self._buffer.add_to(builder)
        return builder.sample()


class OtherSensors:
    """All that the kernel measures beside `named` places, thermal zones included."""

    model = "kernel"

    def __init__(self, named: Mapping[str, Place], clock: Clock, sys: Path = SYS) -> None:
        self._named = named
        self._clock = clock
        self._sys = sys
        self._sources: tuple[Source, ...] = ()

    @property
    def channels(self) -> tuple[Channel, ...]:
        """What was there at the last sample."""
        return tuple(source.channel for source in self._sources)

    def start(self) -> None:
        """Need no start: each sample looks for devices."""

    def sample(self) -> Sample:
        """Read each value that there is now. A device that fails does not lose the others."""
        self._sources = tuple(self._found())
        if not self._sources:
            raise InvalidReading("the kernel measures nothing else")
        return _read(tuple(map(_alone, self._sources)), self._clock)

    def present(self) -> bool:
        """Return whether the kernel measures anything else now."""
        return any(True for _ in self._found())

    def _found(self) -> Iterator[Source]:
        taken = set(self._named)
        finders: tuple[tuple[str, str, Callable[[Path, str, Labels], tuple[Source, ...]]], ...] = (
            ("class/thermal", "type", _zone),
            ("bus/iio/devices", "name", iio_sources),
            ("class/hwmon", "name", hwmon_sources),
        )
        for folder, file, sources in finders:
            for entry in names(self._sys / folder):
                path = self._sys / folder / entry
                if not self._is_ours(path):
                    continue
                name = _unused(line(path / file) or entry, taken)
                yield from sources(path, name, (("sensor", name),))

    def _is_ours(self, path: Path) -> bool:
        """Return whether a device has no name in the file, and is no copy of another."""
        if path.name.startswith("cooling_device"):
            return False
        # The kernel shows the temperature of a thermal zone as a hwmon device as well.
        if path.name.startswith("hwmon") and "/thermal_zone" in str((path / "device").resolve()):
            return False
        device = path.resolve()
        return not any(place.owns(self._sys, device) for place in self._named.values())


def _zone(folder: Path, name: str, labels: Labels) -> tuple[Source, ...]:
    return (zone_source(folder, name, labels),)


def _unused(name: str, taken: set[str]) -> str:
    """Return `name`, with a number if a device of this name was there before."""
    word = "".join(c if c.isalnum() else "_" for c in name.lower())
    number = 1
    while (free := word if number == 1 else f"{word}_{number}") in taken:
        number += 1
    taken.add(free)
    return free


def _alone(source: Source) -> Source:
    """Return `source`, whose failure concerns no other."""

    def read() -> float:
        try:
            return source.read()
        except BusError as error:
            raise InvalidReading(f"{source.channel.key}: {error}") from error

    return Source(source.channel, read)


def _read(sources: tuple[Source, ...], clock: Clock) -> Sample:
    builder = SampleBuilder(clock.time())
    for source in sources:
        builder.add(source.channel, source.read)
    return builder.sample()
