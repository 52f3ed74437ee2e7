"""The ecosystem's own drivers on the same models: the same values, or which are wrong and why.

bench/sensors.py prints transfers and time a sample side by side.
"""

from __future__ import annotations

import random
import time

import adafruit_ads1x15.ads1015 as adafruit_ads1015
import adafruit_bmp280
import adafruit_tcs34725
import ads1015 as pimoroni_ads1015
import pytest
from adafruit_ads1x15.analog_in import AnalogIn
from chipmodels.ads1015 import Ads1015Model
from chipmodels.bosch import Air, BoschModel, RawSample
from chipmodels.inprocess import ModelSMBus
from chipmodels.tcs3472 import Light, Tcs3472Model
from sensor_rig import Rig, by_key
from sensorkit.drivers.ads1015 import Ads1015
from sensorkit.drivers.bosch import Bosch280, BoschSettings
from sensorkit.drivers.tcs3472 import Tcs3472, Tcs3472Settings

from tests.system.sensorkit.costs import all_costs
from tests.system.sensorkit.shims import BlinkaI2C, pimoroni_bmp280


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    """A rig whose clock is also that of drivers that call the time module themselves."""
    made = Rig()
    monkeypatch.setattr(time, "sleep", made.clock.sleep)
    monkeypatch.setattr(time, "monotonic", made.clock.monotonic)
    monkeypatch.setattr(adafruit_bmp280, "sleep", made.clock.sleep)
    made.clock.sleep(0.01)
    return made


def planted(seed: int) -> Air:
    chance = random.Random(seed)
    return Air(chance.uniform(-20, 60), chance.uniform(80_000, 108_000))


def bmp280_rig(rig: Rig, source: RawSample | Air) -> None:
    rig.chips[0x77] = BoschModel(rig.clock, source=source)
    rig.clock.sleep(0.01)


def ours(rig: Rig) -> dict[str, float]:
    driver = Bosch280(rig.smbus(0x77), rig.clock, BoschSettings(filter=0))
    driver.start()
    rig.clock.sleep(1)
    return by_key(driver.sample())


@pytest.mark.parametrize("seed", range(25))
def test_bmp280_of_adafruit_gives_the_same(rig: Rig, seed: int) -> None:
    bmp280_rig(rig, planted(seed))
    expected = ours(rig)
    theirs = adafruit_bmp280.Adafruit_BMP280_I2C(BlinkaI2C(rig.adapter, rig.clock), 0x77)
    assert theirs.temperature == pytest.approx(expected["temperature"], abs=0.01)
    # Theirs is by the double form, ours by the 64-bit one: at most 2.6 Pa apart (DS001 table 3).
    assert theirs.pressure == pytest.approx(expected["pressure"] / 100, abs=0.02)


@pytest.mark.parametrize("seed", range(25))
def test_bmp280_of_pimoroni_gives_the_same_once_it_has_measured(rig: Rig, seed: int) -> None:
    bmp280_rig(rig, planted(seed))
    expected = ours(rig)
    rig.chips[0x77] = BoschModel(rig.clock, source=planted(seed))
    rig.clock.sleep(0.01)
    theirs = pimoroni_bmp280().BMP280(0x77, i2c_dev=ModelSMBus(rig.adapter))
    theirs.setup()
    rig.clock.sleep(1)
    assert theirs.get_temperature() == pytest.approx(expected["temperature"], abs=0.01)
    assert theirs.get_pressure() == pytest.approx(expected["pressure"] / 100, abs=0.02)


def test_bmp280_of_pimoroni_publishes_the_reset_value_as_its_first_sample(rig: Rig) -> None:
    """0x80000 means not measured (DS001 4.3.6, 4.3.7); their drivers give 26 °C and 820 hPa."""
    bmp280_rig(rig, Air(10.0, 100_000.0))
    theirs = pimoroni_bmp280().BMP280(0x77, i2c_dev=ModelSMBus(rig.adapter))
    assert theirs.get_temperature() == pytest.approx(26.46, abs=0.1)
    assert ours(rig)["temperature"] == pytest.approx(10.0, abs=0.01)


@pytest.mark.parametrize("seed", range(25))
def test_tcs34725_of_adafruit_gives_the_same(rig: Rig, seed: int) -> None:
    chance = random.Random(seed)
    r, g, b = (chance.uniform(1, 3) for _ in range(3))
    light = Light((r + g + b) * chance.uniform(0.85, 0.99), r, g, b)
    rig.chips[0x29] = Tcs3472Model(rig.clock, light=light)
    driver = Tcs3472(rig.smbus(0x29), rig.clock, Tcs3472Settings(156.0, 4))
    driver.start()
    expected = by_key(driver.sample())
    theirs = adafruit_tcs34725.TCS34725(BlinkaI2C(rig.adapter, rig.clock))
    theirs.integration_time, theirs.gain = 156.001, 4  # theirs rounds 65 cycles down otherwise
    rig.clock.sleep(1)
    # Their driver truncates the infrared share to a whole count.
    assert theirs.lux == pytest.approx(expected["illuminance"], rel=5e-3, abs=0.5)
    assert theirs.color_temperature == pytest.approx(expected["color_temperature"], rel=1e-2)


def ads1015_sample(rig: Rig, seed: int) -> dict[str, float]:
    """Put an ADS1015 with random voltages on the bus; what our driver measures."""
    chance = random.Random(seed)
    a, b, c, d = (chance.uniform(0, 4.0) for _ in range(4))
    rig.chips[0x48] = Ads1015Model(rig.clock, volts=(a, b, c, d))
    driver = Ads1015(rig.smbus(0x48), rig.clock)
    driver.start()
    return by_key(driver.sample())


@pytest.mark.parametrize("seed", range(25))
def test_ads1015_of_adafruit_gives_the_same(rig: Rig, seed: int) -> None:
    expected = ads1015_sample(rig, seed)
    theirs = adafruit_ads1015.ADS1015(BlinkaI2C(rig.adapter, rig.clock), gain=1)
    for pin in range(4):
        volts = AnalogIn(theirs, pin).voltage
        # Their driver divides by 2047; the scale is 2048 counts (SBAS473 section 8.4.2).
        assert volts * 2047 / 2048 == pytest.approx(expected[f"voltage_{pin}"], abs=0.0021)


@pytest.mark.parametrize("seed", range(25))
def test_ads1015_of_pimoroni_gives_the_same(rig: Rig, seed: int) -> None:
    expected = ads1015_sample(rig, seed)
    theirs = pimoroni_ads1015.ADS1015(0x48, i2c_dev=ModelSMBus(rig.adapter))
    theirs.set_mode("single")
    theirs.set_programmable_gain(4.096)
    for pin in range(4):
        volts = theirs.get_voltage(f"in{pin}/gnd")
        assert volts == pytest.approx(expected[f"voltage_{pin}"], abs=1e-6)


@pytest.mark.parametrize("chip", ["BMP280", "TCS34725", "ADS1015"])
def test_a_sample_costs_no_more_transfers_than_theirs(chip: str) -> None:
    costs = {driver: cost for (name, driver), cost in all_costs().items() if name == chip}
    ours = costs.pop("sensorkit")
    assert all(ours.transfers <= theirs.transfers for theirs in costs.values())
    assert all(ours.bus_ms <= theirs.bus_ms for theirs in costs.values())
