"""The model of the SHT3x, by its data sheet."""

from __future__ import annotations

import pytest
from chipmodels.clock import VirtualClock
from chipmodels.crc import sensirion
from chipmodels.sht3x import Sht3xModel
from chipmodels.target import Nack


def chip() -> tuple[VirtualClock, Sht3xModel]:
    clock = VirtualClock()
    model = Sht3xModel(clock, celsius=21.5, percent=45.0)
    clock.sleep(0.001)
    return clock, model


def values(data: bytes) -> tuple[float, float]:
    """Section 4.13; each word's checksum must be right."""
    assert len(data) == 6
    assert (sensirion(data[:2]), sensirion(data[3:5])) == (data[2], data[5])
    raw = int.from_bytes(data[:2], "big"), int.from_bytes(data[3:5], "big")
    return -45 + 175 * raw[0] / 65535, 100 * raw[1] / 65535


def test_the_checksum_of_the_data_sheet() -> None:
    assert sensirion(b"\xbe\xef") == 0x92


def test_it_does_not_answer_while_it_starts() -> None:
    with pytest.raises(Nack):
        Sht3xModel(VirtualClock()).i2c_write(b"\x24\x00")


def test_a_single_shot_is_refused_until_it_has_ended_and_given_once() -> None:
    clock, model = chip()
    model.slow = 1.24
    model.i2c_write(b"\x24\x00")
    clock.sleep(0.015)
    with pytest.raises(Nack):
        model.i2c_read(6)
    clock.sleep(0.001)
    assert values(model.i2c_read(6)) == pytest.approx((21.5, 45.0), abs=0.002)
    with pytest.raises(Nack):
        model.i2c_read(6)


def test_with_clock_stretching_the_read_waits() -> None:
    _, model = chip()
    model.i2c_write(b"\x2c\x06")
    assert values(model.i2c_read(6)) == pytest.approx((21.5, 45.0), abs=0.002)


def test_periodic_measurements_are_fetched_once_each_until_the_break() -> None:
    clock, model = chip()
    model.i2c_write(b"\x21\x30")
    for wait in (0.9, 0.2):
        clock.sleep(wait)
        model.i2c_write(b"\xe0\x00")
        if wait > 0.5:
            with pytest.raises(Nack):
                model.i2c_read(6)
    assert values(model.i2c_read(6))[0] == pytest.approx(21.5, abs=0.002)
    model.i2c_write(b"\xe0\x00")
    with pytest.raises(Nack):
        model.i2c_read(6)
    model.i2c_write(b"\x30\x93")
    clock.sleep(5)
    model.i2c_write(b"\xe0\x00")
    with pytest.raises(Nack):
        model.i2c_read(6)


def test_status_heater_and_clear() -> None:
    _, model = chip()

    def status() -> int:
        model.i2c_write(b"\xf3\x2d")
        return int.from_bytes(model.i2c_read(3)[:2], "big")

    assert status() == 0x8010
    model.i2c_write(b"\x30\x6d")
    model.i2c_write(b"\x30\x41")
    assert status() == 0x2000
    model.i2c_write(b"\x30\x66")
    assert status() == 0


def test_a_limit_is_written_only_with_its_checksum() -> None:
    _, model = chip()

    def high() -> bytes:
        model.i2c_write(b"\xe1\x1f")
        return model.i2c_read(3)[:2]

    assert high() == b"\xcd\x33"
    model.i2c_write(b"\x61\x1d\x12\x34\x00")
    model.i2c_write(b"\x61\x1d\x12")
    assert high() == b"\xcd\x33"
    model.i2c_write(b"\x61\x1d\x12\x34" + bytes([sensirion(b"\x12\x34")]))
    assert high() == b"\x12\x34"


def test_the_serial_number_and_a_reset() -> None:
    clock, model = chip()
    model.i2c_write(b"\x37\x80")
    assert model.i2c_read(6)[:2] == b"\x0a\x1b"
    model.i2c_write(b"\x30\xa2")
    with pytest.raises(Nack):
        model.i2c_write(b"\x24\x00")
    clock.sleep(0.001)
    model.i2c_write(b"\x24\x00")
