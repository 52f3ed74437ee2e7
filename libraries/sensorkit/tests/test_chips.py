"""What holds for the drivers of all chips: patience, units, broken answers."""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Callable

import pytest
from chipmodels.ads1015 import Ads1015Model
from chipmodels.lsm303d import Lsm303dModel
from chipmodels.target import I2cTarget
from chipmodels.tcs3472 import Tcs3472Model
from hypothesis import given, settings
from hypothesis import strategies as st
from sensor_rig import Rig, Scripted
from sensorkit import measurement
from sensorkit.drivers.ads1015 import Ads1015
from sensorkit.drivers.driver import Driver
from sensorkit.drivers.lsm303d import Lsm303d
from sensorkit.drivers.tcs3472 import (
    Tcs3472,
)
from sensorkit.errors import NotReady, SensorError

from tests.branches import QUICK, at_least
from tests.examples import examples


def waited(rig: Rig, driver: Driver) -> float:
    """The seconds until a driver gives up a chip whose conversions do not end."""
    before = rig.clock.monotonic()
    with pytest.raises(NotReady):
        driver.sample()
    return rig.clock.monotonic() - before


def test_a_chip_that_does_not_finish_is_asked_five_times_within_its_own_time() -> None:
    """Half an integration of 153.6 ms, a period of 50 Hz, a conversion of 1/1600 s."""

    class Dark(Tcs3472Model):
        def reg_read(self, register: int) -> int:
            return 0 if register == 0x13 else super().reg_read(register)

    class Stuck(Lsm303dModel):
        def reg_read(self, register: int) -> int:
            return 0 if register in (0x07, 0x27) else super().reg_read(register)

    rig = Rig()
    rig.chips |= {0x29: Dark(rig.clock), 0x1D: Stuck(rig.clock)}
    light, attitude = Tcs3472(rig.smbus(0x29), rig.clock), Lsm303d(rig.smbus(0x1D), rig.clock)
    light.start()
    attitude.start()
    assert waited(rig, light) == pytest.approx(5 * 0.0768)
    assert waited(rig, attitude) == pytest.approx(5 * 0.02)
    rig.chips[0x49] = Ads1015Model(rig.clock, slow=1000)
    volts = Ads1015(rig.smbus(0x49), rig.clock)
    volts.start()
    # Section 7.5: rates vary by 10 %; the chip wakes in 50 microseconds.
    assert waited(rig, volts) == pytest.approx(1.1 / 1600 + 50e-6 + 5 / 1600)


def test_what_is_measured_and_in_which_units() -> None:
    """SI units; device classes and units of Home Assistant's sensor platform."""
    inf = math.inf
    table = {
        q.name: (q.metric, q.unit, q.low, q.high, q.digits, q.jump, *_shown(q.home_assistant))
        for q in (
            *(measurement.TEMPERATURE, measurement.PRESSURE, measurement.SEA_LEVEL_PRESSURE),
            *(measurement.ALTITUDE, measurement.HUMIDITY, measurement.ILLUMINANCE),
            *(measurement.COLOR_TEMPERATURE, measurement.COLOR, measurement.ACCELERATION),
            *(measurement.MAGNETIC_FIELD, measurement.HEADING, measurement.VOLTAGE),
        )
    }
    pressure = ("atmospheric_pressure", "hPa", 0.01, 2)
    assert table == {
        "temperature": ("temperature_celsius", "°C", -273.15, inf, 2, 1.0,
                        "temperature", "°C", 1.0, 2),
        "pressure": ("pressure_pascals", "Pa", 0, inf, 2, 100.0, *pressure),
        "sea_level_pressure": ("sea_level_pressure_pascals", "Pa", 80_000, 115_000, 2, None,
                               *pressure),
        "altitude": ("altitude_meters", "m", -inf, 44_330, 2, None, "distance", "m", 1.0, 2),
        "humidity": ("humidity_ratio", "1", 0, 1, 4, 0.05, "humidity", "%", 100.0, 2),
        "illuminance": ("illuminance_lux", "lx", 0, inf, 2, None, "illuminance", "lx", 1.0, 2),
        "color_temperature": ("color_temperature", "K", 0, inf, 0, None, None, "K", 1.0, 0),
        "color": ("color_ratio", "1", 0, 1, 4, None, None, "%", 100.0, 2),
        "acceleration": ("acceleration_meters_per_second_squared", "m/s²", -inf, inf, 4, None,
                         None, "m/s²", 1.0, 3),
        "magnetic_flux_density": ("magnetic_flux_density_teslas", "T", -inf, inf, 9, None,
                                  None, "µT", 1e6, 2),
        "heading": ("heading_degrees", "°", 0, 360, 1, None, None, "°", 1.0, 1),
        "voltage": ("voltage_volts", "V", -inf, inf, 4, 0.05, "voltage", "V", 1.0, 3),
    }  # fmt: skip


def _shown(form: measurement.HomeAssistantForm) -> tuple[object, ...]:
    return form.device_class, form.unit, form.factor, form.digits


Maker = tuple[int, Callable[[Rig], I2cTarget], Callable[[Rig], Driver]]


CHIPS: dict[str, Maker] = {
    "tcs3472": (
        0x29,
        lambda r: Tcs3472Model(r.clock),
        lambda r: Tcs3472(r.smbus(0x29), r.clock),
    ),
    "lsm303d": (
        0x1D,
        lambda r: Lsm303dModel(r.clock),
        lambda r: Lsm303d(r.smbus(0x1D), r.clock),
    ),
    "ads1015": (
        0x49,
        lambda r: Ads1015Model(r.clock, volts=(0.5, 1.0, 2.0, 3.3)),
        lambda r: Ads1015(r.smbus(0x49), r.clock),
    ),
}


class Broken:
    """A chip, one of whose answers has a byte overwritten."""

    def __init__(self, chip: I2cTarget, answer: int, at: int, byte: int) -> None:
        self.chip, self.answer, self.at, self.byte = chip, answer, at, byte

    def i2c_write(self, data: bytes) -> None:
        self.chip.i2c_write(data)

    def i2c_read(self, length: int) -> bytes:
        self.answer -= 1
        data = bytearray(self.chip.i2c_read(length))
        if self.answer == 0:
            data[self.at % length] = self.byte
        return bytes(data)


@pytest.mark.slow
@pytest.mark.parametrize("name", CHIPS)
def test_one_answer_that_was_broken_gives_possible_values_or_a_sensor_error(name: str) -> None:
    address, make, make_driver = CHIPS[name]

    def run(ways: Counter[str]) -> None:
        @QUICK
        @given(st.integers(1, 5), st.integers(0, 39), st.integers(0, 255))
        def broken(answer: int, at: int, byte: int) -> None:
            rig = Rig()
            rig.chips[address] = Broken(make(rig), answer, at, byte)
            driver = make_driver(rig)
            try:
                driver.start()
                sample = driver.sample()
            except SensorError:
                ways["refused"] += 1
                return
            ways["sample"] += 1
            assert {m.channel for m in sample} <= set(driver.channels)
            assert all(abs(m.value) < 1e6 for m in sample)

        broken()

    at_least({"sample": 20, "refused": 10}, run)


@settings(max_examples=examples(150), deadline=None)
@given(data=st.data(), chip=st.sampled_from([Tcs3472, Lsm303d]))
def test_any_bytes_give_measurements_or_a_sensor_error(
    data: st.DataObject, chip: type[Tcs3472 | Lsm303d]
) -> None:
    registers = Scripted(lambda _, n: data.draw(st.binary(min_size=n, max_size=n)))
    driver = chip(registers, Rig().clock)
    with contextlib.suppress(SensorError):
        driver.sample()
