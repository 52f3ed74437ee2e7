"""ADS1015 and ADS1115 by their data sheets (TI SBAS473E, SBAS444E), section 8.6."""

from __future__ import annotations

import pytest
from chipmodels.ads1015 import Ads1015Model, Ads1115Model
from chipmodels.clock import VirtualClock

ADS1015_RATES = (128, 250, 490, 920, 1600, 2400, 3300, 3300)
ADS1115_RATES = (8, 16, 32, 64, 128, 250, 475, 860)


def converted(model: Ads1015Model, clock: VirtualClock, config: int) -> int:
    """The word of a conversion with this configuration."""
    model.i2c_write(bytes([1, *config.to_bytes(2, "big")]))
    clock.sleep(1)
    model.i2c_write(b"\0")
    return int.from_bytes(model.i2c_read(2), "big")


@pytest.mark.parametrize(
    ("kind", "rates"), [(Ads1015Model, ADS1015_RATES), (Ads1115Model, ADS1115_RATES)]
)
def test_a_conversion_takes_25_us_and_the_time_of_its_rate(
    kind: type[Ads1015Model], rates: tuple[int, ...]
) -> None:
    """OS, bit 15, is 0 while the chip converts."""
    for code, rate in enumerate(rates):
        clock = VirtualClock()
        chip = kind(clock)
        chip.i2c_write(bytes([1, 0xC3, code << 5 | 3]))
        clock.sleep(1 / rate + 25e-6 - 2e-8)
        assert chip.reg_read(1) == 0x4303 | code << 5
        clock.sleep(4e-8)
        assert chip.reg_read(1) == 0xC303 | code << 5


def test_a_slow_chip_takes_its_multiple() -> None:
    clock = VirtualClock()
    chip = Ads1015Model(clock, slow=3)
    chip.i2c_write(b"\x01\xc3\x83")
    clock.sleep(3 / 1600 + 25e-6 - 2e-8)
    assert not chip.reg_read(1) & 0x8000
    clock.sleep(4e-8)
    assert chip.reg_read(1) & 0x8000


@pytest.mark.parametrize(
    ("code", "full_scale"),
    list(enumerate([6.144, 4.096, 2.048, 1.024, 0.512, 0.256, 0.256, 0.256])),
)
def test_full_scales(code: int, full_scale: float) -> None:
    """Half of it is 1024 counts in the upper twelve bits; -1/16 of it is -128 counts."""
    clock = VirtualClock()
    chip = Ads1015Model(clock, volts=(full_scale / 2, -full_scale / 16, 0, 0))
    assert converted(chip, clock, 0xC183 | code << 9) == 0x4000
    assert converted(chip, clock, 0xD183 | code << 9) == 0xF800


@pytest.mark.parametrize(
    ("mux", "volts"),
    list(enumerate([-0.256, -1.536, -1.28, -0.768, 0.256, 0.512, 1.024, 1.792])),
)
def test_inputs_and_pairs(mux: int, volts: float) -> None:
    """0 to 3 are AIN0-AIN1, AIN0-AIN3, AIN1-AIN3 and AIN2-AIN3, 4 to 7 single inputs: 2 mV each."""
    clock = VirtualClock()
    chip = Ads1015Model(clock, volts=(0.256, 0.512, 1.024, 1.792))
    counts = round(volts / 0.002)
    assert converted(chip, clock, 0x8383 | mux << 12) == counts << 4 & 0xFFFF


def test_results_end_at_the_full_scale() -> None:
    clock = VirtualClock()
    chip = Ads1015Model(clock, volts=(4.094, 4.096, -4.096, -9))
    inputs = [converted(chip, clock, 0xC383 | mux << 12) for mux in range(4)]
    assert inputs == [0x7FF0, 0x7FF0, 0x8000, 0x8000]
    assert converted(Ads1015Model(clock), clock, 0xF383) == 0


def test_registers_after_power_on_and_their_words() -> None:
    clock = VirtualClock()
    chip = Ads1015Model(clock)
    for _ in range(2):
        assert [chip.reg_read(register) for register in range(4)] == [0, 0x8583, 0x8000, 0x7FFF]
        chip.i2c_write(b"\x02\x12\x34")
        chip.i2c_write(b"\x07\x56\x78\x9a")  # two bits of the pointer count, and two bytes
        chip.i2c_write(b"\x00\xff\xff")
        chip.i2c_write(b"\x01\x43\x83")
        assert [chip.reg_read(register) for register in range(4)] == [0, 0xC383, 0x1234, 0x5678]
        chip.i2c_write(b"\x02\x00")  # a byte is no word
        assert chip.i2c_read(5) == b"\x12\x34\x12\x34\x12"
        chip.i2c_write(b"")
        assert chip.i2c_read(1) == b"\x12"
        chip.power_cycle()
        assert chip.i2c_read(2) == b"\0\0"


def test_a_single_shot_is_started_by_os_alone_and_stays() -> None:
    clock = VirtualClock()
    chip = Ads1015Model(clock, volts=(1.024, 0, 0, 0))
    assert converted(chip, clock, 0x4383) == 0
    assert converted(chip, clock, 0xC383) == 0x2000
    chip.volts = (2.048, 0, 0, 0)
    clock.sleep(1)
    assert chip.reg_read(0) == 0x2000


def test_continuous_conversions_go_on() -> None:
    """MODE, bit 8, is 0."""
    clock = VirtualClock()
    chip = Ads1015Model(clock, volts=(1.024, 0, 0, 0))
    assert converted(chip, clock, 0x4283) == 0x2000
    chip.volts = (2.048, 0, 0, 0)
    clock.sleep(1)
    assert chip.reg_read(0) == 0x4000


def test_a_conversion_that_was_over_is_kept_when_the_next_one_starts() -> None:
    clock = VirtualClock()
    chip = Ads1015Model(clock, volts=(1.024, 0, 0, 0))
    chip.i2c_write(b"\x01\xc3\x83")
    clock.sleep(1)
    chip.i2c_write(b"\x01\xd3\x83")
    assert chip.reg_read(0) == 0x2000
