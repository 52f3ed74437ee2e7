"""The model of the BH1750, by its data sheet."""

from __future__ import annotations

import pytest
from chipmodels.bh1750 import Bh1750Model
from chipmodels.clock import VirtualClock


def chip(lux: float = 100.0, slow: float = 1.0) -> tuple[VirtualClock, Bh1750Model]:
    clock = VirtualClock()
    return clock, Bh1750Model(clock, lux=lux, slow=slow)


def counts(model: Bh1750Model) -> int:
    return int.from_bytes(model.i2c_read(2), "big")


def test_high_resolution_counts_1_2_a_lux() -> None:
    clock, model = chip(28067)
    model.i2c_write(b"\x10")
    clock.sleep(0.18)
    assert counts(model) == 33680  # the data sheet's example "10000011 10010000": 28067 lx


@pytest.mark.parametrize(("slow", "seconds"), [(1.0, 0.12), (1.5, 0.18)])
def test_a_result_is_old_until_the_conversion_is_over(slow: float, seconds: float) -> None:
    clock, model = chip(slow=slow)
    model.i2c_write(b"\x20")
    clock.sleep(seconds - 0.001)
    assert counts(model) == 0
    clock.sleep(0.0011)
    assert counts(model) == 120


@pytest.mark.parametrize(("mode", "expected"), [(0x10, 120), (0x11, 240), (0x13, 120)])
def test_modes(mode: int, expected: int) -> None:
    clock, model = chip()
    model.i2c_write(bytes([mode]))
    clock.sleep(0.2)
    assert counts(model) == expected


def test_the_measurement_time_is_written_in_two_parts_and_scales_counts_and_time() -> None:
    clock, model = chip()
    model.i2c_write(b"\x44")  # 100.....
    model.i2c_write(b"\x6a")  # ...01010: 138, twice the default
    model.i2c_write(b"\x10")
    clock.sleep(0.239)
    assert counts(model) == 0
    clock.sleep(0.01)
    assert counts(model) == 240


def test_one_time_modes_power_down_and_continuous_ones_go_on() -> None:
    clock, model = chip()
    for mode, after in ((0x20, 120), (0x10, 240)):
        model.lux = 100.0
        model.i2c_write(bytes([mode]))
        clock.sleep(0.2)
        assert counts(model) == 120
        model.lux = 200.0
        clock.sleep(0.2)
        assert counts(model) == after


def test_bright_light_stops_at_the_end_of_the_counter() -> None:
    clock, model = chip(100_000)
    model.i2c_write(b"\x10")
    clock.sleep(0.2)
    assert counts(model) == 65535


def test_reset_clears_the_result_and_power_loss_the_mode() -> None:
    clock, model = chip()
    model.i2c_write(b"\x20")
    clock.sleep(0.2)
    assert counts(model) == 120
    model.i2c_write(b"\x07")
    assert counts(model) == 0
    model.i2c_write(b"\x10")
    model.power_cycle()
    clock.sleep(1)
    assert counts(model) == 0
