"""What the system has for `sensors:`: the list for the kernel, and the one for `use: sensors`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from piimage.board import Board
from piimage.compose.rules import File
from piimage.config.models import Appliance

if TYPE_CHECKING:
    from piimage.config.sensors import Sensor

W1_OVERLAY: Final = "w1-gpio"
SERVICE: Final = "sensors"
TIMER: Final = "iio-trig-hrtimer"
"""The module of the timer that lets the kernel sample chips by itself."""

# The program that makes chips known to the kernel, as a service of process 1. No container can have
# this name: process 1 would run only one of the two.
_START: Final = (
    b"service [2345] name:_sensors restart:always restart_sec:5 log:null "
    b"/usr/lib/piimage/sensors -- Sensors of the kernel\n"
)


SPI_OVERLAY: Final = "piimage-sensors"
"""The overlay that is made for the chips on SPI."""


def spi_overlay(appliance: Appliance, board: Board) -> bytes | None:
    """Return the source of the overlay with the chips on SPI; None if there are none.

    It belongs after the overlay of the bus, whose nodes for programs of one's own (spidev) it turns
    off. The kernel knows a chip by the end of its compatible string, after the vendor's name: here
    that is all of it.
    """
    chips = [sensor for sensor in appliance.sensors if sensor.kind == "spi"]
    if not chips or board.header.spi is None:
        return None
    nodes = "".join(map(_spi_node, chips))
    return f"/dts-v1/;\n/plugin/;\n\n{board.header.spi} {{\n{nodes}}};\n".encode()


def _spi_node(sensor: Sensor) -> str:
    mode = ("spi-cpol",) * (sensor.mode >> 1) + ("spi-cpha",) * (sensor.mode & 1)
    flags = "".join(f"\t\t{name};\n" for name in mode)
    return (
        f'\tspidev@{sensor.cs} {{\n\t\tstatus = "disabled";\n\t}};\n'
        f"\tsensor@{sensor.cs} {{\n"
        f'\t\tcompatible = "{sensor.chip}";\n'
        f"\t\treg = <{sensor.cs}>;\n"
        f"\t\tspi-max-frequency = <{sensor.speed}>;\n"
        f"{flags}\t}};\n"
    )


def bus_modules(appliance: Appliance) -> tuple[str, ...]:
    """Return the modules that the sensors need beside those of the board and of the chips."""
    sensors = appliance.sensors
    wire = W1_OVERLAY in appliance.boot.overlays and any(s.bus == "w1" for s in sensors)
    return ((W1_OVERLAY,) if wire else ()) + ((TIMER,) if any(s.rate for s in sensors) else ())


def sensor_files(appliance: Appliance) -> Iterator[File]:
    """Yield the lists of sensors. The container `sensors` needs its list, be it empty."""
    named = (*appliance.sensors, *appliance.gpio)
    if any(entry.use == SERVICE for entry in appliance.services) or named:
        entries = [_entry(sensor) for sensor in appliance.sensors if sensor.name]
        held = [
            {"name": line.name, "kind": line.kind, "line": line.line, "every": line.every}
            for line in appliance.gpio
        ]
        document = {"sensors": entries} | ({"lines": held} if held else {})
        text = json.dumps(document, indent=1)
        yield File("etc/piimage/sensors.json", f"{text}\n".encode())
    chips = "".join(_line(sensor) for sensor in appliance.sensors if sensor.bus != "w1")
    if chips:
        yield File("etc/piimage/sensors", chips.encode())
        yield File("etc/finit.d/_sensors.conf", _START)


def _entry(sensor: Sensor) -> Mapping[str, Any]:
    """Return a sensor as sensorkit/kernel/file.py reads it."""
    from piimage.config.sensors import W1_FAMILIES  # noqa: PLC0415  # few files have sensors

    entry: dict[str, Any] = {"name": sensor.name, "chip": sensor.chip, "every": sensor.every}
    if sensor.kind == "w1":
        entry |= {"family": W1_FAMILIES[sensor.chip], "serial": sensor.serial}
    elif sensor.kind == "spi":
        entry |= {"bus": sensor.bus, "cs": sensor.cs}
    else:
        entry |= {"bus": sensor.bus, "address": sensor.address}
    entry |= {"rate": sensor.rate} if sensor.rate else {}
    smoothing = sensor.filter and sensor.filter.model_dump(exclude_none=True)
    entry |= {"filter": smoothing} if smoothing else {}
    return entry | ({"offset": dict(sensor.offset)} if sensor.offset else {})


def _line(sensor: Sensor) -> str:
    """Return ``NAME BUS CHIP ADDRESS SETTING=VALUE…``, as usr/lib/piimage/sensors reads it.

    The address of a chip on SPI is its chip select. The setting ``oversampling`` is that of each
    quantity; a setting of one quantity comes after it. The last is ``rate``, because a chip that
    the kernel samples refuses settings.
    """
    address = f"{sensor.cs}" if sensor.address is None else f"0x{sensor.address:02x}"
    every = {} if sensor.oversampling is None else {"oversampling": sensor.oversampling}
    rate = {} if sensor.rate is None else {"rate": sensor.rate}
    words = {**every, **sensor.settings, **rate}
    settings = (f"{name}={value}" for name, value in words.items())
    place = (sensor.bus.replace("i2c", "i2c-"), sensor.chip, address)
    return " ".join((sensor.label, *place, *settings)) + "\n"
