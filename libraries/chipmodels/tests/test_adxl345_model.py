"""The model of the ADXL345, by its data sheet."""

from __future__ import annotations

import pytest
from chipmodels.adxl345 import Adxl345Model
from chipmodels.clock import VirtualClock


def chip(**axes: float) -> Adxl345Model:
    return Adxl345Model(VirtualClock(), **axes)


def axes(model: Adxl345Model) -> tuple[int, ...]:
    model.i2c_write(b"\x32")
    data = model.i2c_read(6)
    return tuple(int.from_bytes(data[n : n + 2], "little", signed=True) for n in (0, 2, 4))


def read(model: Adxl345Model, register: int) -> int:
    model.i2c_write(bytes([register]))
    return model.i2c_read(1)[0]


def test_identity_and_values_after_power_on() -> None:
    model = chip()
    assert [read(model, register) for register in (0x00, 0x2C, 0x2D, 0x31)] == [0xE5, 0x0A, 0, 0]
    model.i2c_write(b"\x00\x55")
    assert read(model, 0x00) == 0xE5


def test_nothing_is_measured_in_standby() -> None:
    model = chip(z=1.0)
    assert axes(model) == (0, 0, 0)
    model.i2c_write(b"\x2d\x08")
    assert axes(model) == (0, 0, 256)
    model.i2c_write(b"\x2d\x00")
    model.z = 2.0
    assert axes(model) == (0, 0, 256)


@pytest.mark.parametrize(
    ("form", "expected"),
    [(0x00, 511), (0x01, 384), (0x03, 96), (0x08, 511), (0x09, 768), (0x0B, 768), (0x0F, 6144)],
)
def test_range_resolution_and_justification(form: int, expected: int) -> None:
    model = chip(x=3.0)
    model.i2c_write(bytes([0x31, form]))
    model.i2c_write(b"\x2d\x08")
    assert axes(model)[0] == expected


def test_offsets_are_added_in_steps_of_15_6_mg() -> None:
    model = chip(y=-0.5, z=0.0)
    model.i2c_write(b"\x2d\x08")
    model.i2c_write(b"\x1e\x01\x00\xff")
    assert axes(model) == (4, -128, -4)
    model.power_cycle()
    assert read(model, 0x1E) == 0
