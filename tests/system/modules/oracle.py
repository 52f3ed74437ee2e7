"""Run on the appliance: our drivers beside the kernel's IIO drivers; prints one JSON object.

python3 -m oracle sweep SEED COUNT     random calibrations and raw values, on i2c-stub
python3 -m oracle chips                every chip on sensor-sim, ours first, then the kernel's
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import multiprocessing
import os
import random
import struct
import sys
import time
from pathlib import Path
from typing import Any

from chipmodels.adapter import I2cAdapter, SpiController
from chipmodels.ads1015 import Ads1015Model
from chipmodels.bosch import BoschModel, Calibration, RawSample, pressure_of, temperature_of
from chipmodels.clock import RealClock
from chipmodels.cuse import serve
from chipmodels.sim import Buses, SimDevice, bus_number
from chipmodels.tcs3472 import Light, Tcs3472Model
from sensorkit.bus.discovery import SystemPaths
from sensorkit.bus.linux import i2c_line
from sensorkit.bus.registers import Line, RdwrRegisters, Registers, SmbusRegisters, SpiRegisters
from sensorkit.clock import SystemClock
from sensorkit.drivers import bosch_math
from sensorkit.drivers.ads1015 import Ads1015
from sensorkit.drivers.bosch import Bosch280, parse_data
from sensorkit.drivers.tcs3472 import Tcs3472, Tcs3472Settings
from smbus2 import SMBus

DEVICES = Path("/sys/bus/i2c/devices")
SIM = Path("/sys/class/misc/sensor-sim")


def random_case(chance: random.Random) -> tuple[Calibration, RawSample]:
    """A calibration and raw values that give air on earth; far from the data sheet's."""
    while True:
        small = [chance.randint(-12000, 12000) for _ in range(8)]
        c = Calibration(
            chance.randint(20000, 32000), chance.randint(20000, 32000),
            chance.randint(-32768, 32767), chance.randint(30000, 65535), *small,
        )  # fmt: skip
        raw = RawSample(chance.randint(0x20000, 0xE0000), chance.randint(0x20000, 0xE0000))
        celsius = temperature_of(raw.temperature, c)
        if not fits(raw, c):
            continue
        if -40 < celsius < 85 and 30_000 < pressure_of(raw.pressure, celsius, c) < 110_000:
            return c, raw


def fits(raw: RawSample, c: Calibration) -> bool:
    """Whether the data sheet's C (32 and 64 bits), and so the kernel, holds what comes in between.

    Ours has integers without end; chips are trimmed so that it makes no difference.
    """
    deviation = (raw.temperature >> 4) - c.t1
    first = ((raw.temperature >> 3) - (c.t1 << 1)) * c.t2
    third = (deviation**2 >> 12) * c.t3
    d = (first >> 11) + (third >> 14) - 128000
    offset = d * d * c.p6 + (d * c.p5 << 17) + (c.p4 << 35)
    slope = (d * d * c.p3 >> 8) + (d * c.p2 << 12)
    divisor = ((1 << 47) + slope) * c.p1
    dividend = ((1048576 - raw.pressure << 31) - offset) * 3125
    narrow = (first, deviation**2, third)
    return max(map(abs, narrow)) < 1 << 31 and max(abs(divisor), abs(dividend)) < 1 << 63


def iio(device: Path, name: str) -> str:
    """An attribute of the IIO device below a bus's device."""
    (folder,) = device.glob("iio:device*")
    return (folder / name).read_text().strip()


def sweep(seed: int, count: int) -> dict[str, Any]:
    """How often ours and the kernel's differ, to the kernel's own resolution."""
    number = next(
        d.name for d in DEVICES.glob("i2c-*") if (d / "name").read_text().startswith("SMBus stub")
    )
    device = DEVICES / f"{number.removeprefix('i2c-')}-0077"
    chance = random.Random(seed)
    started, different = time.monotonic(), []
    with SMBus(f"/dev/{number}") as bus:
        bus.write_byte_data(0x77, 0xD0, 0x58, force=True)
        bus.write_byte_data(0x77, 0xF3, 0, force=True)
        for _ in range(count):
            c, raw = random_case(chance)
            block = (raw.pressure << 4).to_bytes(3, "big") + (raw.temperature << 4).to_bytes(
                3, "big"
            )
            bus.write_i2c_block_data(0x77, 0x88, list(c.pressure_block()), force=True)
            bus.write_i2c_block_data(0x77, 0xF7, list(block), force=True)
            (DEVICES / number / "new_device").write_text("bmp280 0x77")
            theirs = (iio(device, "in_temp_input"), iio(device, "in_pressure_input"))
            (DEVICES / number / "delete_device").write_text("0x77")
            ours = compensated(c.pressure_block(), block)
            if ours != theirs:
                different.append((repr(c), repr(raw), ours, theirs))
    seconds = time.monotonic() - started
    found = {"cases": count, "differ": len(different), "different": different[:5]}
    return found | {"seconds": seconds}


def compensated(calibration: bytes, block: bytes) -> tuple[str, str]:
    """Our integers, written as IIO writes them: millidegrees, and kilopascals of p / 256000.

    For centidegrees the data sheet shifts (DS001 3.11.3), which rounds down; the kernel divides by
    256, which below zero rounds up. So what is compared is its division of our t_fine.
    """
    c, raw = bosch_math.Calibration.parse(calibration), parse_data(block)
    assert raw.temperature is not None and raw.pressure is not None
    t_fine = bosch_math.fine_temperature(raw.temperature, c)
    pressure = bosch_math.pressure_q24_8(raw.pressure, t_fine, c)
    whole, rest = divmod(pressure, 256000)
    kilopascals = f"{whole}.{rest * 1_000_000_000 // 256000:09d}"
    scaled = t_fine * 5 + 128
    divided = scaled // 256 if scaled >= 0 else -(-scaled // 256)
    assert bosch_math.centidegrees(t_fine) - divided in ((0,) if scaled >= 0 else (0, -1))
    return f"{divided * 10}.000000000", kilopascals


class SpiNode:
    """``xfer2`` of spidev, without the package."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR)

    def xfer2(self, values: Any) -> list[int]:
        data = ctypes.create_string_buffer(bytes(values), len(values))
        at = ctypes.addressof(data)
        fcntl.ioctl(
            self._fd,
            0x40206B00,
            struct.pack("<QQIIHBBBBBx", at, at, len(values), 0, 0, 8, *[0] * 4),
        )
        return list(data.raw)

    def close(self) -> None:
        os.close(self._fd)


def chips() -> dict[str, Any]:
    """The worked example on each bus, colours and voltages: ours, then the kernel's."""
    clock = RealClock()
    volts = (0.5, 1.0, 1.536, 2.02)
    adapter = I2cAdapter({
        0x77: BoschModel(clock),
        0x29: Tcs3472Model(clock, light=Light(20.0, 6.0, 8.0, 5.0)),
        0x49: Ads1015Model(clock, volts=volts),
    })  # fmt: skip
    buses = Buses(adapter, SpiController({0: BoschModel(clock)}))
    models = multiprocessing.get_context("fork").Process(target=_answer, args=(buses,), daemon=True)
    models.start()
    time.sleep(0.5)
    try:
        return ours() | theirs()
    finally:
        models.terminate()
        models.join()


def _answer(buses: Buses) -> None:
    serve([SimDevice(buses)])


def ours() -> dict[str, Any]:
    line = i2c_line(f"/dev/i2c-{bus_number()}", SystemPaths())
    (SIM / "new_spi_device").write_text("bk4 0 1000000")
    node = next(Path("/dev").glob("spidev*.0"))
    device = SpiNode(node)
    spi: Line[Any] = Line("spi", lambda: device)
    found: dict[str, Any] = {
        "ours smbus": example(SmbusRegisters(line, 0x77)),
        "ours rdwr": example(RdwrRegisters(line, 0x77)),
        "ours spi": example(SpiRegisters(spi)),
    }
    device.close()
    (SIM / "delete_spi_device").write_text("0")
    light = Tcs3472(SmbusRegisters(line, 0x29), SystemClock(), Tcs3472Settings(153.6, 4))
    light.start()
    counts = light._counts()
    found["ours light"] = [counts.clear, counts.red, counts.green, counts.blue]
    analogue = Ads1015(SmbusRegisters(line, 0x49), SystemClock())
    analogue.start()
    found["ours volts"] = [measurement.value for measurement in analogue.sample()]
    return found


def example(registers: Registers) -> list[Any]:
    """Every number of the data sheet's example that a driver on this bus gives."""
    driver = Bosch280(registers, SystemClock())
    driver.start()
    celsius, pascals = (m.value for m in driver.sample())
    c = bosch_math.Calibration.parse(registers.read(0x88, 24))
    raw = parse_data(registers.read(0xF7, 6))
    assert raw.temperature is not None and raw.pressure is not None
    t_fine = bosch_math.fine_temperature(raw.temperature, c)
    degrees, fine = bosch_math.temperature_float(raw.temperature, c)
    float_pascals = bosch_math.pressure_float(raw.pressure, fine, c)
    return [
        celsius * 5120, t_fine, bosch_math.centidegrees(t_fine), pascals * 256,
        f"{degrees:.5f}", f"{float_pascals:.3f}",
    ]  # fmt: skip


def theirs() -> dict[str, Any]:
    folder = DEVICES / f"i2c-{bus_number()}"
    for name, address in (("bmp280", 0x77), ("tcs3472", 0x29), ("ads1015", 0x49)):
        (folder / "new_device").write_text(f"{name} 0x{address:02x}")
    bus = folder.name.removeprefix("i2c-")
    air, light, analogue = (DEVICES / f"{bus}-00{a}" for a in ("77", "29", "49"))
    (attributes,) = light.glob("iio:device*")
    (attributes / "in_intensity_integration_time").write_text("0.1536")
    (attributes / "in_intensity_calibscale").write_text("4")
    time.sleep(0.5)
    colours = ("clear", "red", "green", "blue")
    found: dict[str, Any] = {
        "iio i2c": [iio(air, "in_temp_input"), iio(air, "in_pressure_input")],
        "iio light": [int(iio(light, f"in_intensity_{colour}_raw")) for colour in colours],
        "iio volts": [
            int(iio(analogue, f"in_voltage{n}_raw")) * float(iio(analogue, f"in_voltage{n}_scale"))
            for n in range(4)
        ],
    }
    for address in ("0x77", "0x29", "0x49"):
        (folder / "delete_device").write_text(address)
    (SIM / "new_spi_device").write_text("bmp280 0 1000000")
    spi = next(d for d in Path("/sys/bus/spi/devices").iterdir() if _is_bmp280(d))
    found["iio spi"] = [iio(spi, "in_temp_input"), iio(spi, "in_pressure_input")]
    (SIM / "delete_spi_device").write_text("0")
    return found


def _is_bmp280(device: Path) -> bool:
    return (device / "modalias").read_text().strip() == "spi:bmp280"


if __name__ == "__main__":
    command, *numbers = sys.argv[1:]
    result = sweep(*map(int, numbers)) if command == "sweep" else chips()
    sys.stdout.write(json.dumps(result) + "\n")
