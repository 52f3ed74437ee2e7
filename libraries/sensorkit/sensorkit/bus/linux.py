"""Opens the buses of this machine with smbus2 and spidev."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import cast

from sensorkit.bus.discovery import SystemPaths, i2c_node, spi_node
from sensorkit.bus.registers import I2cBus, Line, SpiDevice
from sensorkit.errors import BusError


@dataclass(frozen=True)
class SpiSettings:
    """SPI settings of a chip: mode 0..3 and the clock in hertz."""

    mode: int = 0
    speed_hz: int = 1_000_000


def i2c_line(reference: str, paths: SystemPaths) -> Line[I2cBus]:
    """Return an I2C bus, by device-tree name or device node; the first use looks it up."""

    def open_bus() -> I2cBus:
        from smbus2 import SMBus  # noqa: PLC0415 -- only services on I2C need it

        return cast(I2cBus, SMBus(str(i2c_node(reference, paths))))

    return Line(reference, open_bus)


def spi_line(reference: str, settings: SpiSettings, paths: SystemPaths) -> Line[SpiDevice]:
    """Return an SPI chip select, by its controller's device-tree name or by device node."""

    def open_device() -> SpiDevice:
        try:
            spidev = importlib.import_module("spidev")  # only services on SPI have it
        except ImportError:
            raise BusError("the Python package spidev is not installed") from None
        device = spidev.SpiDev()
        bus, chip_select = spi_node(reference, paths).name.removeprefix("spidev").split(".")
        device.open(int(bus), int(chip_select))
        device.mode = settings.mode
        device.max_speed_hz = settings.speed_hz
        return cast(SpiDevice, device)

    return Line(reference, open_device)
