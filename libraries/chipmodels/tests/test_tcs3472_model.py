"""TCS3472 by its data sheet (v1-10): registers, cycles of 2.4 ms, gains, saturation."""

from __future__ import annotations

import pytest
from chipmodels.clock import VirtualClock
from chipmodels.target import Nack
from chipmodels.tcs3472 import Light, Tcs3472Model

AFTER_POWER_ON = bytes([0, 0xFF, 0, 0xFF, *[0] * 14, 0x44, *[0] * 13])


def read(chip: Tcs3472Model, register: int, length: int) -> bytes:
    chip.i2c_write(bytes([0xA0 | register]))
    return chip.i2c_read(length)


def test_registers_after_power_on() -> None:
    chip = Tcs3472Model(VirtualClock())
    for _ in range(2):
        assert read(chip, 0, 32) == AFTER_POWER_ON
        chip.i2c_write(b"\xa0\x03\xc0\x01\x02")
        chip.i2c_write(b"\xb2\x55\x55\x55")  # identity, status and data are read-only
        assert read(chip, 0, 4) == b"\x03\xc0\x01\x02"
        assert read(chip, 0x11, 4) == b"\0\x44\0\0"
        chip.power_cycle()
        assert chip.i2c_read(2) == b"\0\xff"


def test_the_last_register_that_is_written_is_before_the_identity() -> None:
    chip = Tcs3472Model(VirtualClock(), identity=0x4D)
    chip.i2c_write(b"\xb1\x77\x88")
    assert read(chip, 0x11, 2) == b"\x77\x4d"


def test_commands() -> None:
    """Bit 7 marks a command. 00 and 01 in bits 6 and 5 go on to the next register, 10 does not."""
    chip = Tcs3472Model(VirtualClock())
    with pytest.raises(Nack):
        chip.i2c_write(b"\x12")
    chip.i2c_write(b"")
    for command, expected in ((0x92, b"\x44\0"), (0xB2, b"\x44\0"), (0xD2, b"\x44\x44")):
        chip.i2c_write(bytes([command]))
        assert chip.i2c_read(2) == expected
    chip.i2c_write(b"\xe1\x55")  # a special function takes no values
    assert read(chip, 1, 1) == b"\xff"
    chip.i2c_write(b"\xa0\x01")
    assert read(chip, 0x1F, 2) == b"\0\x01"  # after the last register comes the first


@pytest.mark.parametrize("enable", [0x00, 0x01, 0x02])
def test_without_power_and_converter_there_is_no_light(enable: int) -> None:
    clock = VirtualClock()
    chip = Tcs3472Model(clock)
    chip.i2c_write(bytes([0xA0, enable]))
    clock.sleep(10)
    assert read(chip, 0x13, 9) == bytes(9)


def test_a_cycle_is_the_start_and_the_integration_and_is_repeated() -> None:
    """ATIME 0xC0 is 64 cycles of 2.4 ms; one more passes at first."""
    clock = VirtualClock()
    chip = Tcs3472Model(clock)
    chip.i2c_write(b"\xa1\xc0")
    chip.i2c_write(b"\xa0\x03")
    clock.sleep(65 * 0.0024 - 1e-6)
    assert read(chip, 0x13, 9) == bytes(9)
    clock.sleep(2e-6)
    # 153.6 ms * 2.0, 0.8, 0.7 and 0.5 counts a millisecond: 307, 123, 108, 77
    assert read(chip, 0x13, 9) == b"\x11\x33\x01\x7b\x00\x6c\x00\x4d\x00"
    chip.light = Light(4.0, 0.8, 0.7, 0.5)
    chip.i2c_write(b"\xa0\x03")  # it runs already
    clock.sleep(64 * 0.0024 - 2e-6)
    assert read(chip, 0x14, 2) == b"\x33\x01"
    clock.sleep(2e-6)
    assert read(chip, 0x14, 2) == b"\x66\x02"
    clock.sleep(10.5 * 64 * 0.0024)
    chip.light = Light(2.0)
    assert read(chip, 0x14, 2) == b"\x33\x01"
    chip.light = Light(4.0)
    clock.sleep(0.6 * 64 * 0.0024)  # the cycles go on from where the last one ended
    assert read(chip, 0x14, 2) == b"\x66\x02"


def test_switching_off_takes_back_what_was_valid() -> None:
    clock = VirtualClock()
    chip = Tcs3472Model(clock)
    chip.i2c_write(b"\xa0\x03")
    clock.sleep(1)
    assert read(chip, 0x13, 1) == b"\x11"
    chip.i2c_write(b"\xa0\x01")
    assert read(chip, 0x13, 1) == b"\0"
    clock.sleep(1)
    assert read(chip, 0x13, 1) == b"\0"
    chip.i2c_write(b"\xa0\x03")
    clock.sleep(0.0047)
    assert read(chip, 0x13, 1) == b"\0"
    clock.sleep(0.0002)
    assert read(chip, 0x13, 1) == b"\x11"


@pytest.mark.parametrize(("code", "gain"), list(enumerate([1, 4, 16, 60])))
@pytest.mark.parametrize(("atime", "cycles", "top"), [(0xEB, 21, 21504), (0xC0, 64, 65535)])
def test_gains_and_saturation(code: int, gain: int, atime: int, cycles: int, top: int) -> None:
    """1024 counts a cycle, but no more than 16 bits hold ("Detailed description")."""
    clock = VirtualClock()
    chip = Tcs3472Model(clock, light=Light(clear=1.25, red=1000))
    chip.i2c_write(bytes([0xA1, atime]))
    chip.i2c_write(bytes([0xAF, code]))
    chip.i2c_write(b"\xa0\x03")
    clock.sleep(1)
    data = read(chip, 0x14, 4)
    assert int.from_bytes(data[:2], "little") == 3 * cycles * gain  # 1.25 * 2.4 a cycle
    assert int.from_bytes(data[2:], "little") == top
