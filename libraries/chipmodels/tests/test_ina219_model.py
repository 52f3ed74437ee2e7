"""The model of the INA219, by its data sheet."""

from __future__ import annotations

import pytest
from chipmodels.clock import VirtualClock
from chipmodels.ina219 import Ina219Model


def chip(volts: float = 12.0, amperes: float = 2.0, ohms: float = 0.1) -> Ina219Model:
    return Ina219Model(VirtualClock(), volts=volts, amperes=amperes, ohms=ohms)


def read(model: Ina219Model, register: int) -> int:
    model.i2c_write(bytes([register]))
    return int.from_bytes(model.i2c_read(2), "big")


def write(model: Ina219Model, register: int, word: int) -> None:
    model.i2c_write(bytes([register, *word.to_bytes(2, "big")]))


def test_the_worked_example_of_section_8_5_1() -> None:
    """10 A through 2 mΩ at 11.98 V: 2000, 2995 counts, 10000 counts of 1 mA, 5990 of 20 mW."""
    model = chip(11.98, 10.0, 0.002)
    write(model, 5, 20480)
    assert read(model, 1) == 2000
    assert read(model, 2) >> 3 == 2995
    assert read(model, 4) == 10000
    assert read(model, 3) == 5990


def test_current_and_power_are_0_without_calibration() -> None:
    model = chip()
    assert (read(model, 3), read(model, 4)) == (0, 0)
    assert read(model, 0) == 0x399F


def test_current_may_flow_back() -> None:
    model = chip(amperes=-1.0)
    write(model, 5, 4096)
    assert read(model, 1) == 0x10000 - 10000
    assert read(model, 4) == 0x10000 - 10000
    assert read(model, 3) == 10000 * 3000 // 5000


@pytest.mark.parametrize(("gain", "most"), [(0, 4000), (1, 8000), (2, 16000), (3, 32000)])
def test_gain_limits_the_shunt_voltage(gain: int, most: int) -> None:
    model = chip(amperes=100.0)
    write(model, 0, 0x2000 | gain << 11)
    assert read(model, 1) == most


def test_range_of_the_bus_and_overflow() -> None:
    model = chip(volts=40.0, amperes=3.2)
    assert read(model, 2) >> 3 == 8000
    write(model, 0, 0x1FFF)
    assert read(model, 2) >> 3 == 4000
    write(model, 5, 0xFFFF)
    assert read(model, 5) == 0xFFFE
    assert read(model, 2) & 1 == 1


def test_reset_by_bit_15() -> None:
    model = chip()
    write(model, 5, 4096)
    write(model, 0, 0x8000)
    assert (read(model, 0), read(model, 5)) == (0x399F, 0)
    assert read(model, 7) == 0
