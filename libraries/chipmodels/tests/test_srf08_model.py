"""The model of the SRF08, by its technical specification."""

from __future__ import annotations

import pytest
from chipmodels.clock import VirtualClock
from chipmodels.srf08 import Srf08Model
from chipmodels.target import Nack


def chip(**values: float) -> tuple[VirtualClock, Srf08Model]:
    clock = VirtualClock()
    return clock, Srf08Model(clock, **values)


def echo(model: Srf08Model) -> int:
    model.i2c_write(b"\x02")
    return int.from_bytes(model.i2c_read(2), "big")


@pytest.mark.parametrize(("command", "expected"), [(b"\x51", 250), (b"\x50", 98), (b"\x52", 14577)])
def test_the_distance_in_centimetres_inches_and_microseconds(command: bytes, expected: int) -> None:
    clock, model = chip(meters=2.5)
    model.i2c_write(b"\x00" + command)
    clock.sleep(0.07)
    assert echo(model) == expected


@pytest.mark.parametrize(("slow", "seconds"), [(1.0, 0.0642), (1.5, 0.0963)])
def test_it_does_not_answer_while_it_ranges(slow: float, seconds: float) -> None:
    clock, model = chip(slow=slow)
    model.i2c_write(b"\x00\x51")
    clock.sleep(seconds - 0.001)
    for access in (lambda: model.i2c_read(1), lambda: model.i2c_write(b"\x00")):
        with pytest.raises(Nack):
            access()
    clock.sleep(0.0011)
    model.i2c_write(b"\x00")
    assert model.i2c_read(2) == bytes([10, 120])  # the revision, and the light


def test_a_shorter_range_takes_less_time_and_sees_less() -> None:
    clock, model = chip(meters=1.5)
    for register, expected in ((0x18, 0), (0x8B, 150)):  # 1.075 m, 6.02 m
        model.i2c_write(bytes([0x02, register]))
        model.i2c_write(b"\x00\x51")
        clock.sleep(2 * model.range_meters / 343 + 0.0001)
        assert echo(model) == expected


def test_without_a_reflection_there_is_no_echo() -> None:
    clock, model = chip(meters=0.0)
    model.i2c_write(b"\x00\x51")
    clock.sleep(0.07)
    assert echo(model) == 0
    model.i2c_write(b"\x04")
    assert model.i2c_read(2) == b"\0\0"


def test_an_unknown_command_ranges_nothing() -> None:
    _, model = chip()
    model.i2c_write(b"\x00\x77")
    assert echo(model) == 0


def test_power_loss_restores_the_range() -> None:
    clock, model = chip(meters=5.0)
    model.i2c_write(b"\x02\x18")
    model.i2c_write(b"\x01\x05")
    model.power_cycle()
    assert model.range_meters == pytest.approx(11.008)
    model.i2c_write(b"\x00\x51")
    clock.sleep(0.07)
    assert echo(model) == 500
