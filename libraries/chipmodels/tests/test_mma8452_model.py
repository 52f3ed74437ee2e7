"""The model of the MMA8452Q, by its data sheet."""

from __future__ import annotations

import pytest
from chipmodels.clock import VirtualClock
from chipmodels.mma8452 import Mma8452Model


def chip(rate: int = 0, **values: float) -> tuple[VirtualClock, Mma8452Model]:
    clock = VirtualClock()
    model = Mma8452Model(clock, **values)
    model.i2c_write(bytes([0x2A, rate << 3 | 1]))
    return clock, model


def read(model: Mma8452Model, register: int, length: int = 1) -> bytes:
    model.i2c_write(bytes([register]))
    return model.i2c_read(length)


def axes(model: Mma8452Model) -> list[int]:
    data = read(model, 0x01, 6)
    return [int.from_bytes(data[n : n + 2], "big", signed=True) >> 4 for n in (0, 2, 4)]


def test_identity() -> None:
    _, model = chip()
    assert read(model, 0x0D) == b"\x2a"


def test_a_g_is_1024_counts_of_12_bits() -> None:
    clock, model = chip(x=0.5, y=-1.0, z=1.0)
    clock.sleep(0.01)
    assert axes(model) == [512, -1024, 1024]


@pytest.mark.parametrize(("scale", "counts"), [(0, 2047), (1, 1536), (2, 768)])
def test_the_range_is_set_in_standby_and_clips(scale: int, counts: int) -> None:
    clock, model = chip(x=3.0)
    model.i2c_write(bytes([0x0E, 2 - scale]))
    assert read(model, 0x0E) == b"\x00"  # refused while active
    model.i2c_write(b"\x2a\x00")
    model.i2c_write(bytes([0x0E, scale]))
    model.i2c_write(b"\x2a\x01")
    clock.sleep(0.01)
    assert axes(model)[0] == counts


@pytest.mark.parametrize(("rate", "seconds"), [(0, 1 / 800), (5, 1 / 12.5), (7, 1 / 1.56)])
def test_data_are_new_at_the_rate_and_read_once(rate: int, seconds: float) -> None:
    clock, model = chip(rate)
    clock.sleep(seconds * 0.9)
    assert read(model, 0x00) == b"\x00"
    clock.sleep(seconds * 0.2)
    assert read(model, 0x00) == b"\x0f"
    axes(model)
    assert read(model, 0x00) == b"\x00"


def test_data_that_were_not_read_are_overwritten() -> None:
    clock, model = chip()
    clock.sleep(0.01)
    assert read(model, 0x00) == b"\xff"
    read(model, 0x03, 2)
    assert read(model, 0x00) == b"\x55"  # x and z are still new


def test_standby_keeps_the_last_data() -> None:
    clock, model = chip(x=1.0)
    clock.sleep(0.002)
    read(model, 0x00)
    model.i2c_write(b"\x2a\x00")
    model.x = 0.0
    clock.sleep(1)
    assert read(model, 0x00) == b"\x0f"
    assert axes(model)[0] == 1024


def test_reset_and_power_loss_leave_it_in_standby() -> None:
    clock, model = chip()
    model.i2c_write(b"\x2b\x40")
    clock.sleep(1)
    assert (read(model, 0x2A), read(model, 0x2B), read(model, 0x00)) == (b"\0", b"\0", b"\0")


def test_registers_that_are_only_read_and_those_beyond_the_last_stay() -> None:
    _, model = chip()
    model.i2c_write(b"\x2a\x00")
    model.i2c_write(b"\x0d\x55")
    model.i2c_write(b"\x40\x55")
    assert (read(model, 0x0D), read(model, 0x40)) == (b"\x2a", b"\x00")
