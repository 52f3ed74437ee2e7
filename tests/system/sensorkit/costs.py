"""The cost of a sample by our drivers and the ecosystem's, on models in virtual time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from unittest import mock

import adafruit_ads1x15.ads1015 as adafruit_ads1015
import adafruit_bmp280
import adafruit_tcs34725
import ads1015 as pimoroni_ads1015
from adafruit_ads1x15.analog_in import AnalogIn
from chipmodels.adapter import I2cTransfer
from chipmodels.ads1015 import Ads1015Model
from chipmodels.bosch import Air, BoschModel
from chipmodels.inprocess import ModelSMBus
from chipmodels.tcs3472 import Tcs3472Model
from sensor_rig import Rig
from sensorkit.drivers.ads1015 import Ads1015
from sensorkit.drivers.bosch import Bosch280
from sensorkit.drivers.tcs3472 import Tcs3472

from tests.system.sensorkit.shims import BlinkaI2C, pimoroni_bmp280

_ROUNDS = 200


@dataclass(frozen=True)
class Cost:
    """One sample: transfers, the bus's time at 100 kHz, the time until the value is there, CPU."""

    transfers: int
    bus_ms: float
    total_ms: float
    cpu_us: float


def bus_milliseconds(log: Sequence[I2cTransfer], hertz: int = 100_000) -> float:
    """Time on a bus: nine clocks a byte and one an address; start and stop."""
    clocks = 0
    for transfer in log:
        clocks += 2
        for message in transfer.messages:
            clocks += 9 * (1 + (message.length if message.read else len(message.data))) + 1
    return clocks / hertz * 1000


def cost(rig: Rig, sample: Callable[[], object]) -> Cost:
    """Measure one sample after a first one and a second's rest."""
    sample()
    rig.clock.sleep(1)
    rig.adapter.log.clear()
    before = rig.clock.monotonic()
    sample()
    transfers, on_bus = len(rig.adapter.log), bus_milliseconds(rig.adapter.log)
    total = (rig.clock.monotonic() - before) * 1000 + on_bus
    started = time.process_time()
    for _ in range(_ROUNDS):
        sample()
    return Cost(transfers, on_bus, total, (time.process_time() - started) / _ROUNDS * 1e6)


@contextmanager
def virtual_time(rig: Rig) -> Iterator[None]:
    """Drivers that use the time module wait in the virtual time of the rig."""
    with (
        mock.patch.object(time, "sleep", rig.clock.sleep),
        mock.patch.object(time, "monotonic", rig.clock.monotonic),
        mock.patch.object(adafruit_bmp280, "sleep", rig.clock.sleep),
    ):
        yield


def all_costs() -> dict[tuple[str, str], Cost]:
    """The cost by chip and driver."""
    rig = Rig()
    with virtual_time(rig):
        rig.clock.sleep(0.01)
        rig.chips[0x77] = BoschModel(rig.clock, source=Air())
        rig.chips[0x29] = Tcs3472Model(rig.clock)
        rig.chips[0x48] = Ads1015Model(rig.clock, volts=(1.0, 1.0, 1.0, 1.0))
        rig.clock.sleep(0.01)
        return {name: cost(rig, sample) for name, sample in _samples(rig)}


def _samples(rig: Rig) -> Iterator[tuple[tuple[str, str], Callable[[], object]]]:
    bus = BlinkaI2C(rig.adapter, rig.clock)
    adafruit = adafruit_bmp280.Adafruit_BMP280_I2C(bus, 0x77)
    yield ("BMP280", "Adafruit"), lambda: (adafruit.temperature, adafruit.pressure)
    pimoroni = pimoroni_bmp280().BMP280(0x77, i2c_dev=ModelSMBus(rig.adapter))
    pimoroni.setup()
    yield ("BMP280", "Pimoroni"), lambda: (pimoroni.get_temperature(), pimoroni.get_pressure())
    bosch = Bosch280(rig.smbus(0x77), rig.clock)
    bosch.start()
    yield ("BMP280", "sensorkit"), bosch.sample
    colour = adafruit_tcs34725.TCS34725(bus)
    yield ("TCS34725", "Adafruit"), lambda: (colour.lux, colour.color_temperature)
    light = Tcs3472(rig.smbus(0x29), rig.clock)
    light.start()
    yield ("TCS34725", "sensorkit"), light.sample
    converter = adafruit_ads1015.ADS1015(bus)
    pins = [AnalogIn(converter, pin) for pin in range(4)]
    yield ("ADS1015", "Adafruit"), lambda: [pin.voltage for pin in pins]
    pimoroni_converter = pimoroni_ads1015.ADS1015(0x48, i2c_dev=ModelSMBus(rig.adapter))
    pimoroni_converter.set_mode("single")
    pimoroni_converter.set_programmable_gain(4.096)
    inputs = [f"in{pin}/gnd" for pin in range(4)]
    yield ("ADS1015", "Pimoroni"), lambda: [pimoroni_converter.get_voltage(n) for n in inputs]
    analogue = Ads1015(rig.smbus(0x48), rig.clock)
    analogue.start()
    yield ("ADS1015", "sensorkit"), analogue.sample
