"""Run inside the guest: the drivers on device nodes; prints one line ``RESULT {json}``."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import bmp280
import envirophat
from chipmodels.ads1015 import Ads1015Model
from chipmodels.bosch import BoschModel
from chipmodels.clock import VirtualClock
from chipmodels.lsm303d import Lsm303dModel
from chipmodels.stub import (
    ads1015_contents,
    bosch_contents,
    lsm303d_contents,
    preload,
    tcs3472_contents,
)
from chipmodels.tcs3472 import Tcs3472Model
from sensorkit.chips import Buses
from sensorkit.cli import run
from sensorkit.clock import SystemClock
from sensorkit.service import Service
from smbus2 import SMBus

CHIPS = ("i2c-7:0x77=bmp280", "i2c-7:0x29=tcs3472", "i2c-7:0x1d=lsm303d", "i2c-7:0x49=ads1015")


def read(service: Service, **variables: str) -> list[Any]:
    out = io.StringIO()
    run(service, ["read", "--once", "--json"], variables, out, SystemClock())
    return [json.loads(line) for line in out.getvalue().splitlines()]


def through_cuse() -> dict[str, Any]:
    command = [sys.executable, "-m", "chipmodels.daemon", *CHIPS, "spidev0.0=bme280"]
    daemon = subprocess.Popen(command)
    wait_for("/dev/i2c-7", "/dev/spidev0.0")
    service = bmp280.service(Buses())
    spi = {"BMP280_BUS": "/dev/spidev0.0", "BMP280_CHIP": "bme280"}
    found = {
        "cuse smbus": read(service, BMP280_BUS="/dev/i2c-7"),
        "cuse rdwr": read(service, BMP280_BUS="/dev/i2c-7", BMP280_TRANSFER="rdwr"),
        "cuse spi": read(service, **spi),
        "cuse envirophat": read(envirophat.service(Buses()), ENVIROPHAT_BUS="/dev/i2c-7"),
    }
    with SMBus(7) as bus:
        started = time.monotonic()
        for _ in range(200):
            bus.read_i2c_block_data(0x77, 0xF7, 6)
        found["cuse ms a transfer"] = (time.monotonic() - started) * 5
        found["absent chip"] = errno_of(bus, 0x10)
    daemon.terminate()
    daemon.wait()
    return found


def errno_of(bus: SMBus, address: int) -> int:
    try:
        bus.read_byte(address)
    except OSError as error:
        return error.errno or 0
    return 0


def through_stub() -> dict[str, Any]:
    clock = VirtualClock()
    chip = BoschModel(clock)
    clock.sleep(1)
    chip.i2c_write(b"\xf4\x57")
    clock.sleep(1)
    chip.i2c_read(1)
    light, motion = Tcs3472Model(clock), Lsm303dModel(clock)
    for register, value in ((0x01, 0xC0), (0x0F, 1), (0x00, 3)):
        light.i2c_write(bytes([0xA0 | register, value]))
    motion.i2c_write(bytes([0xA0, 0x57, 0, 0, 0, 0x70, 0, 0]))
    clock.sleep(1)
    analogue = Ads1015Model(clock, volts=(1.0, 1.0, 1.0, 1.0))
    analogue.i2c_write(b"\x01\xc3\x83")
    clock.sleep(1)
    contents = {
        0x77: bosch_contents(chip),
        0x29: tcs3472_contents(light),
        0x1D: lsm303d_contents(motion),
        0x49: ads1015_contents(analogue),
    }
    number = next(
        p.name
        for p in Path("/sys/bus/i2c/devices").glob("i2c-*")
        if (p / "name").read_text().startswith("SMBus stub")
    )
    with SMBus(f"/dev/{number}") as bus:
        for address, dump in contents.items():
            preload(bus, address, dump)
    return {
        "stub bmp280": read(bmp280.service(Buses()), BMP280_BUS=f"/dev/{number}"),
        "stub envirophat": read(envirophat.service(Buses()), ENVIROPHAT_BUS=f"/dev/{number}"),
    }


def wait_for(*nodes: str) -> None:
    for _ in range(200):
        if all(Path(node).exists() for node in nodes):
            return
        time.sleep(0.05)
    raise TimeoutError(f"{nodes} did not come")


if __name__ == "__main__":
    sys.stdout.write("\nRESULT " + json.dumps(through_stub() | through_cuse()) + "\n")
