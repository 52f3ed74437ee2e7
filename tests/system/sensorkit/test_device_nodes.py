"""The drivers on real device nodes: i2c-stub, and the models through CUSE.

All of these run in one guest of the pytest plugin where the host's kernel has neither.
"""

from __future__ import annotations

import errno
import fcntl
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import bmp280
import envirophat
import pytest
from chipmodels.ads1015 import Ads1015Model
from chipmodels.bosch import Air, BoschModel, Variant
from chipmodels.clock import RealClock, VirtualClock
from chipmodels.control import ask
from chipmodels.dump import Dump
from chipmodels.lsm303d import Lsm303dModel
from chipmodels.stub import (
    ads1015_contents,
    bosch_contents,
    lsm303d_contents,
    tcs3472_contents,
)
from chipmodels.target import I2cTarget
from chipmodels.tcs3472 import Tcs3472Model
from chipmodels.testing.buses import I2cSimBus, I2cStub
from chipmodels.testing.plugin import I2cSim, SpiSim
from sensorkit.bus.discovery import SystemPaths
from sensorkit.bus.linux import SpiSettings, i2c_line, spi_line
from sensorkit.bus.registers import RdwrRegisters, Registers, SmbusRegisters, SpiRegisters
from sensorkit.chips import Buses
from sensorkit.cli import run
from sensorkit.clock import SystemClock
from sensorkit.drivers import bosch_math
from sensorkit.drivers.bosch import Bosch280, BoschSettings, parse_data
from sensorkit.errors import SensorError
from sensorkit.service import Service
from smbus2 import SMBus, i2c_msg

from tests.system.sensorkit.conftest import PYTHONPATH

TEN_BIT, READ_LENGTH_FIRST = 0x0010, 0x0400  # flags of struct i2c_msg


def read(service: Service, **variables: str) -> dict[str, Any]:
    """One sample of each sensor, by the service's own command."""
    out = io.StringIO()
    run(service, ["read", "--once", "--json"], variables, out, SystemClock())
    return {sample["sensor"]: sample for sample in map(json.loads, out.getvalue().splitlines())}


def measured_bosch() -> Dump:
    """The registers of a BMP280 in normal mode with the data sheet's example."""
    clock = VirtualClock()
    chip = BoschModel(clock)
    clock.sleep(1)
    chip.i2c_write(b"\xf4\x57")
    clock.sleep(1)
    chip.i2c_read(1)
    return bosch_contents(chip)


def phat_contents() -> dict[int, Dump]:
    """An Enviro pHAT whose conversions are done."""
    clock = VirtualClock()
    light, motion = Tcs3472Model(clock), Lsm303dModel(clock)
    clock.sleep(1)
    for register, value in ((0x01, 0xC0), (0x0F, 1), (0x00, 3)):
        light.i2c_write(bytes([0xA0 | register, value]))
    motion.i2c_write(bytes([0xA0, 0x57, 0, 0, 0, 0x70, 0, 0]))
    clock.sleep(1)
    analogue = Ads1015Model(clock, volts=(1.0, 1.0, 1.0, 1.0))
    analogue.i2c_write(b"\x01\xc3\x83")
    clock.sleep(1)
    return {
        0x77: measured_bosch(),
        0x29: tcs3472_contents(light),
        0x1D: lsm303d_contents(motion),
        0x49: ads1015_contents(analogue),
    }


def phat_models() -> dict[int, I2cTarget]:
    clock = RealClock()
    return {
        0x77: BoschModel(clock),
        0x29: Tcs3472Model(clock),
        0x1D: Lsm303dModel(clock),
        0x49: Ads1015Model(clock, volts=(1.0, 1.0, 1.0, 1.0)),
    }


@pytest.fixture(params=["stub", "smbus", "rdwr", "spi mode 0", "spi mode 3"])
def registers(request: pytest.FixtureRequest) -> Registers:
    """A BMP280 with the data sheet's example behind each kind of bus."""
    form: str = request.param
    if form == "stub":
        stub: I2cStub = request.getfixturevalue("i2c_stub")
        return SmbusRegisters(i2c_line(stub({0x77: measured_bosch()}).path, SystemPaths()), 0x77)
    if form.startswith("spi"):
        spi: SpiSim = request.getfixturevalue("spi_sim")
        settings = SpiSettings(mode=int(form[-1]), speed_hz=10_000_000)
        node = spi({0: BoschModel(RealClock())}).path(0)
        return SpiRegisters(spi_line(node, settings, SystemPaths()))
    sim: I2cSim = request.getfixturevalue("i2c_sim")
    line = i2c_line(sim({0x77: BoschModel(RealClock())}).path, SystemPaths())
    return SmbusRegisters(line, 0x77) if form == "smbus" else RdwrRegisters(line, 0x77)


@pytest.mark.device_nodes
def test_the_worked_example_to_the_last_digit(registers: Registers) -> None:
    """BST-BMP280-DS001 section 3.12: the integers, and the double form of the same registers."""
    time.sleep(0.005)
    driver = Bosch280(registers, SystemClock(), BoschSettings())
    driver.start()
    values = {m.channel.key: m.value for m in driver.sample()}
    assert values == {"temperature": 128422 / 5120, "pressure": 25767233 / 256}
    calibration = bosch_math.Calibration.parse(registers.read(0x88, 24))
    raw = parse_data(registers.read(0xF7, 6))
    assert raw.temperature is not None and raw.pressure is not None
    t_fine = bosch_math.fine_temperature(raw.temperature, calibration)
    assert (t_fine, bosch_math.centidegrees(t_fine)) == (128422, 2508)
    assert bosch_math.pressure_int32(raw.pressure, t_fine, calibration) == 100656
    celsius, fine = bosch_math.temperature_float(raw.temperature, calibration)
    pascals = bosch_math.pressure_float(raw.pressure, fine, calibration)
    assert (f"{celsius:.5f}", f"{pascals:.3f}") == ("25.08248", "100653.267")


def all_chips(samples: dict[str, Any]) -> None:
    assert samples["bmp280"]["temperature_celsius"] == 25.08
    assert samples["tcs3472"]["illuminance_lux"] == pytest.approx(181.95, abs=0.5)
    gravity = samples["lsm303d"]["acceleration_z_meters_per_second_squared"]
    assert gravity == pytest.approx(9.8066, abs=0.001)
    assert samples["ads1015"]["voltage_0_volts"] == pytest.approx(1.0, abs=0.002)


def test_all_chips_of_the_enviro_phat_on_i2c_stub(i2c_stub: I2cStub) -> None:
    bus = i2c_stub(phat_contents())
    all_chips(read(envirophat.service(Buses()), ENVIROPHAT_BUS=bus.path))


def test_all_chips_of_the_enviro_phat_through_cuse(i2c_sim: I2cSim) -> None:
    bus = i2c_sim(phat_models())
    all_chips(read(envirophat.service(Buses()), ENVIROPHAT_BUS=bus.path))


def test_a_bme280_on_spi_by_its_service(spi_sim: SpiSim) -> None:
    bus = spi_sim({0: BoschModel(RealClock(), variant=Variant.BME280)})
    service = bmp280.service(Buses())
    sample = read(service, BMP280_BUS=bus.path(0), BMP280_CHIP="bme280")["bmp280"]
    assert (sample["temperature_celsius"], sample["pressure_pascals"]) == (25.08, 100653.25)


class TestWhatAPisControllerRefuses:
    """The refusals of drivers/i2c/busses/i2c-bcm2835.c and drivers/spi/spi-bcm2835.c."""

    @pytest.fixture
    def bus(self, i2c_sim: I2cSim) -> Iterator[SMBus]:
        made = i2c_sim({0x77: BoschModel(RealClock())})
        time.sleep(0.005)
        with SMBus(made.path) as opened:
            yield opened

    def refused(self, call: Callable[[], object]) -> int | None:
        with pytest.raises(OSError) as caught:
            call()
        return caught.value.errno

    def test_an_address_without_a_chip(self, bus: SMBus) -> None:
        assert self.refused(lambda: bus.read_byte(0x10)) == errno.EREMOTEIO

    def test_a_read_before_the_last_message(self, bus: SMBus) -> None:
        reads = [i2c_msg.read(0x77, 1), i2c_msg.read(0x77, 1)]
        assert self.refused(lambda: bus.i2c_rdwr(*reads)) == errno.EOPNOTSUPP

    @pytest.mark.parametrize("flag", [TEN_BIT, READ_LENGTH_FIRST])
    def test_flags_of_a_message(self, bus: SMBus, flag: int) -> None:
        message = i2c_msg.read(0x77, 1)
        message.flags |= flag
        assert self.refused(lambda: bus.i2c_rdwr(message)) == errno.EOPNOTSUPP

    def test_messages_of_any_length_below_the_limit(self, bus: SMBus) -> None:
        message = i2c_msg.read(0x77, 8192)
        bus.i2c_rdwr(i2c_msg.write(0x77, [0xD0]), message)
        assert bytes(message)[0] == 0x58
        long = i2c_msg.read(0x77, 8193)
        assert self.refused(lambda: bus.i2c_rdwr(long)) == errno.EINVAL

    def test_a_block_whose_length_the_chip_gives(self, bus: SMBus) -> None:
        assert self.refused(lambda: bus.read_block_data(0x77, 0xD0)) == errno.EOPNOTSUPP

    def test_error_checking_that_the_chip_does_not_have(self, bus: SMBus) -> None:
        bus.pec = 1
        assert self.refused(lambda: bus.read_byte_data(0x77, 0xD0)) == errno.EBADMSG

    def test_spi_words_modes_and_speeds(self, spi_sim: SpiSim) -> None:
        import spidev

        bus = spi_sim({0: BoschModel(RealClock())})
        time.sleep(0.005)
        device = spidev.SpiDev()
        device.open(bus.number, 0)
        for name, value in (("bits_per_word", 16), ("lsbfirst", True)):
            assert self.refused(partial(setattr, device, name, value)) == errno.EINVAL
        words = lambda: device.xfer2([0xD0, 0], 1_000_000, 0, 16)  # noqa: E731
        assert self.refused(words) == errno.EINVAL
        assert device.xfer2([0xD0, 0], 10_000_000)[1] == 0x58
        assert device.xfer2([0xD0, 0], 12_000_000)[1] == 0x58 >> 1 | 0x80
        device.mode = 1  # the chip understands 0 and 3 only (section 5.3)
        assert device.xfer2([0xD0, 0])[1] == 0xFF
        device.close()


class TestFaults:
    @pytest.fixture
    def bus(self, i2c_sim: I2cSim) -> I2cSimBus:
        made = i2c_sim({0x77: BoschModel(RealClock(), source=Air(21.0, 100_000.0))})
        time.sleep(0.005)
        return made

    def test_the_clock_held_low_times_out_when_i2c_dev_says(self, bus: I2cSimBus) -> None:
        bus.chip(0x77).faults(hang=1.0)
        with SMBus(bus.path) as opened:
            fcntl.ioctl(opened.fd, 0x0702, 20)  # I2C_TIMEOUT, in hundredths of a second
            started = time.monotonic()
            with pytest.raises(TimeoutError):
                opened.read_byte_data(0x77, 0xD0)
            assert 0.2 <= time.monotonic() - started < 2
        assert bus.chip(0x77).counts() == {"hang": 1}

    def test_the_service_reports_and_recovers(self, bus: I2cSimBus) -> None:
        chip = bus.chip(0x77)
        service = bmp280.service(Buses())
        chip.unplug()
        assert read(service, BMP280_BUS=bus.path) == {}
        chip.plug()
        chip.set(source=Air(30.0, 90_000.0))
        sample = read(service, BMP280_BUS=bus.path)["bmp280"]
        assert sample["temperature_celsius"] == pytest.approx(30.0, abs=0.01)

    def test_a_bad_bus_gives_no_wrong_value(self, bus: I2cSimBus) -> None:
        bus.chip(0x77).faults(nack=0.03, garbage=0.01, reset=0.005)
        line = i2c_line(bus.path, SystemPaths())
        found = []
        for _ in range(30):
            driver = Bosch280(SmbusRegisters(line, 0x77), SystemClock())
            with suppress(SensorError):  # told, not published: the supervisor tries again
                driver.start()
                found += [driver.sample()[0].value for _ in range(5)]
        assert sum(bus.chip(0x77).counts().values()) > 5
        assert len(found) > 20
        assert all(value == pytest.approx(21.0, abs=0.01) for value in found)


@pytest.mark.device_nodes
def test_the_daemon_is_controlled_through_its_socket(tmp_path: Path) -> None:
    socket = tmp_path / "chips.sock"
    daemon = [sys.executable, "-m", "chipmodels.daemon", "--control", str(socket)]
    environment = os.environ | {"PYTHONPATH": PYTHONPATH}
    places = ("i2c-9:0x77=bmp280", "spidev9.0=bme280")
    process = subprocess.Popen([*daemon, *places], env=environment)
    try:
        for node in (Path("/dev/i2c-9"), Path("/dev/spidev9.0"), socket):
            end = time.monotonic() + 10
            while not node.exists():
                assert time.monotonic() < end
                time.sleep(0.01)
        with SMBus("/dev/i2c-9") as bus:
            assert bus.read_byte_data(0x77, 0xD0) == 0x58
            ask(socket, {"chip": "i2c-9:0x77", "unplugged": True})
            with pytest.raises(OSError):
                bus.read_byte_data(0x77, 0xD0)
            command = [sys.executable, "-m", "chipmodels.control", str(socket), "i2c-9:0x77"]
            subprocess.run([*command, "unplugged=false"], check=True, env=environment)
            assert bus.read_byte_data(0x77, 0xD0) == 0x58
        log = ask(socket, {"log": "i2c-9"})
        assert [transfer["error"] for transfer in log] == [0, errno.EREMOTEIO, 0]
    finally:
        process.terminate()
        process.wait()


def test_a_transfer_through_cuse_takes_milliseconds(i2c_sim: I2cSim) -> None:
    bus = i2c_sim({0x77: BoschModel(RealClock())})
    time.sleep(0.005)
    with SMBus(bus.path) as opened:
        started = time.monotonic()
        for _ in range(100):
            opened.read_i2c_block_data(0x77, 0xF7, 6)
        each = (time.monotonic() - started) * 10
    print(f"{each:.2f} ms a transfer")  # noqa: T201
    assert each < 50
