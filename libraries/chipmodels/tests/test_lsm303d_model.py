"""LSM303D by its data sheet (ST DocID023312 rev 2): registers, rates, scales, status."""

from __future__ import annotations

import pytest
from chipmodels.clock import VirtualClock
from chipmodels.lsm303d import Attitude, Lsm303dModel

AFTER_POWER_ON = bytes([0x00, 0x07, 0x00, 0x00, 0x00, 0x18, 0x20, 0x01])  # CTRL0 to CTRL7


def read(chip: Lsm303dModel, register: int, length: int) -> bytes:
    chip.i2c_write(bytes([0x80 | register]))
    return chip.i2c_read(length)


def words(data: bytes) -> list[int]:
    return [int.from_bytes(data[i : i + 2], "little", signed=True) for i in range(0, len(data), 2)]


def awake(clock: VirtualClock, attitude: Attitude | None = None) -> Lsm303dModel:
    """Both halves at 100 Hz."""
    chip = Lsm303dModel(clock, attitude=attitude)
    chip.i2c_write(b"\xa4\x14")
    chip.i2c_write(b"\xa6\x00")
    chip.i2c_write(b"\xa0\x67")
    return chip


def test_registers_after_power_on() -> None:
    clock = VirtualClock()
    chip = Lsm303dModel(clock)
    for _ in range(2):
        assert read(chip, 0x1F, 8) == AFTER_POWER_ON
        assert read(chip, 0x0F, 1) == b"\x49"
        assert read(chip, 0x07, 7) == read(chip, 0x27, 7) == bytes(7)
        chip.i2c_write(b"\x9f\x01\x67\x03\x04\x05\x14\x07\x00\x55\x55")
        assert read(chip, 0x1F, 10) == b"\x01\x67\x03\x04\x05\x14\x07\x00\0\0"
        chip.i2c_write(b"\x9e\x55")
        assert read(chip, 0x1E, 1) == b"\0"
        clock.sleep(0.02)
        chip.power_cycle()
        clock.sleep(1)
        assert chip.i2c_read(1) == b"\0"


def test_sub_addresses() -> None:
    """Section 6.1.1: bit 7 goes on to the next register, within seven bits."""
    chip = Lsm303dModel(VirtualClock())
    chip.i2c_write(b"\x20")
    assert chip.i2c_read(2) == b"\x07\x07"
    chip.i2c_write(b"\x20\x01\x02")
    assert read(chip, 0x20, 2) == b"\x02\0"
    chip.i2c_write(b"\xff")
    assert chip.i2c_read(17) == bytes(16) + b"\x49"
    chip.i2c_write(b"")


@pytest.mark.parametrize("control", [0x07, 0x50, 0x00])
def test_without_a_rate_or_an_axis_the_accelerometer_sleeps(control: int) -> None:
    clock = VirtualClock()
    chip = Lsm303dModel(clock)
    chip.i2c_write(bytes([0xA0, 0x57, 0x00]))
    chip.i2c_write(bytes([0xA0, control]))
    clock.sleep(10)
    assert read(chip, 0x27, 7) == bytes(7)


@pytest.mark.parametrize("control", [0x11, 0x12, 0x14])
def test_a_single_axis_and_the_lowest_rate_wake_the_accelerometer(control: int) -> None:
    clock = VirtualClock()
    chip = Lsm303dModel(clock)
    chip.i2c_write(bytes([0xA0, control]))
    clock.sleep(0.33)
    assert read(chip, 0x27, 1) == b"\x0f"


@pytest.mark.parametrize(("mode", "status"), [(0, 0x0F), (1, 0), (2, 0), (3, 0), (4, 0x0F)])
def test_the_magnetometer_converts_in_mode_0_alone(mode: int, status: int) -> None:
    """CTRL7, bits 1 and 0: 00 continuous, 01 single, 10 and 11 power-down."""
    clock = VirtualClock()
    chip = Lsm303dModel(clock)
    chip.i2c_write(bytes([0xA6, mode]))
    clock.sleep(0.17)
    assert read(chip, 0x07, 1) == bytes([status])


@pytest.mark.parametrize(
    ("code", "hertz"), list(enumerate([3.125, 6.25, 12.5, 25, 50, 100, 200, 400, 800, 1600], 1))
)
def test_rates_of_the_accelerometer(code: int, hertz: float) -> None:
    clock = VirtualClock()
    clock.sleep(5)
    chip = Lsm303dModel(clock)
    chip.i2c_write(bytes([0xA0, code << 4 | 7]))
    clock.sleep(0.999 / hertz)
    assert read(chip, 0x27, 1) == b"\0"
    clock.sleep(0.002 / hertz)
    assert read(chip, 0x27, 1) == b"\x0f"
    chip.i2c_write(bytes([0xA0, code << 4 | 7]))  # begins anew
    clock.sleep(0.999 / hertz)
    assert words(read(chip, 0x28, 6)) == [0, 0, 16393]
    assert read(chip, 0x27, 1) == b"\0"


@pytest.mark.parametrize(("code", "hertz"), list(enumerate([3.125, 6.25, 12.5, 25, 50, 100])))
def test_rates_of_the_magnetometer(code: int, hertz: float) -> None:
    clock = VirtualClock()
    chip = Lsm303dModel(clock)
    chip.i2c_write(bytes([0xA4, code << 2]))
    chip.i2c_write(b"\xa6\x00")
    clock.sleep(0.999 / hertz)
    assert read(chip, 0x07, 1) == b"\0"
    clock.sleep(0.002 / hertz)
    assert read(chip, 0x07, 1) == b"\x0f"


def test_a_period_is_over_although_the_clock_was_rounded() -> None:
    clock = VirtualClock()
    clock.sleep(5)
    chip = awake(clock)
    clock.sleep(0.01)
    assert clock.monotonic() - 5 < 0.01
    assert read(chip, 0x27, 1) == b"\x0f"


def test_reading_the_high_byte_of_an_axis_makes_it_old() -> None:
    """STATUS_A and STATUS_M: bits 0 to 2 of an axis, 3 of all, 4 to 7 for what was overwritten."""
    clock = VirtualClock()
    for status, first in ((0x27, 0x28), (0x07, 0x08)):
        chip = awake(clock)
        clock.sleep(0.011)
        assert read(chip, status, 1) == b"\x0f"
        left = []
        for axis in range(3):
            read(chip, first + 2 * axis, 1)
            left.append(read(chip, status, 1)[0])
            read(chip, first + 2 * axis + 1, 1)
            left.append(read(chip, status, 1)[0])
        assert left == [0x0F, 0x06, 0x06, 0x04, 0x04, 0x00]
        clock.sleep(0.01)
        assert read(chip, status, 1) == b"\x0f"
        clock.sleep(0.01)
        assert read(chip, status, 1) == b"\xff"
        read(chip, first + 1, 1)
        assert read(chip, status, 1) == b"\x66"
        clock.sleep(0.01)
        assert read(chip, status, 1) == b"\x0f"


@pytest.mark.parametrize(
    ("code", "counts"), [(0, 16393), (1, 8197), (2, 5464), (3, 4098), (4, 1366)]
)
def test_scales_of_the_accelerometer(code: int, counts: int) -> None:
    """CTRL2, bits 5 to 3: 0.061, 0.122, 0.183, 0.244 and 0.732 mg a count (table 3)."""
    clock = VirtualClock()
    chip = awake(clock, Attitude((1.0, -1.0, 0.0), (0, 0, 0)))
    chip.i2c_write(bytes([0xA1, code << 3]))
    clock.sleep(0.011)
    assert words(read(chip, 0x28, 7)[:6]) == [counts, -counts, 0]


@pytest.mark.parametrize(("code", "counts"), [(0, 6250), (1, 3125), (2, 1562), (3, 1044)])
def test_scales_of_the_magnetometer(code: int, counts: int) -> None:
    """CTRL6, bits 6 and 5: 0.080, 0.160, 0.320 and 0.479 mgauss a count (table 3)."""
    clock = VirtualClock()
    chip = awake(clock, Attitude((0, 0, 0), (0.0, 0.5, -0.5)))
    chip.i2c_write(bytes([0xA5, code << 5]))
    clock.sleep(0.011)
    assert words(read(chip, 0x08, 7)[:6]) == [0, counts, -counts]
    assert read(chip, 0x28, 6) == bytes(6)


def test_counts_end_with_sixteen_bits() -> None:
    clock = VirtualClock()
    chip = awake(clock, Attitude((9.0, -9.0, 32766 * 0.061e-3), (-32767 * 0.08e-3, 9.0, -9.0)))
    clock.sleep(0.011)
    chip.i2c_write(b"\xa5\x00")
    clock.sleep(0.01)
    assert words(read(chip, 0x28, 6)) == [32767, -32768, 32766]
    assert words(read(chip, 0x08, 6)) == [-32767, 32767, -32768]


def test_what_lies_around_without_values() -> None:
    """Level and at rest, in a field of central Europe."""
    clock = VirtualClock()
    chip = awake(clock)
    chip.i2c_write(b"\xa4\x94")
    clock.sleep(0.011)
    assert words(read(chip, 0x28, 6)) == [0, 0, 16393]  # 1 g / 0.061 mg
    assert words(read(chip, 0x08, 6)) == [1562, 0, -2500]  # 0.25 and -0.4 gauss / 0.160 mgauss
    assert words(read(chip, 0x05, 2)) == [0]


@pytest.mark.parametrize(
    ("celsius", "counts"), [(30, 40), (25.125, 1), (-40, -520), (400, 2047), (-400, -2048)]
)
def test_the_temperature_has_eight_counts_a_degree_from_25_degrees(
    celsius: float, counts: int
) -> None:
    """CTRL5, bit 7, switches it on; it is converted with the field, to twelve bits."""
    clock = VirtualClock()
    chip = awake(clock, Attitude(temperature_celsius=celsius))
    clock.sleep(0.011)
    assert words(read(chip, 0x05, 2)) == [0]
    chip.i2c_write(b"\xa4\x94")
    clock.sleep(0.01)
    assert words(read(chip, 0x05, 2)) == [counts]
