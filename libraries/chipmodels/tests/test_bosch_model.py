"""BMP280 and BME280 by their data sheets (BST-BMP280-DS001, BST-BME280-DS002)."""

from __future__ import annotations

import math
import statistics

import pytest
from chipmodels.bosch import (
    Air,
    BoschModel,
    Calibration,
    RawSample,
    Variant,
    humidity_of,
    pressure_of,
    raw_for,
    temperature_of,
)
from chipmodels.clock import VirtualClock
from chipmodels.target import Nack

TRIMMING = Calibration(
    *(27000, 26000, 9000, 37000, -10000, 29000, 5000, -30000, -3000, 12000, -15000, 30000),
    *(75, 361, 90, 330, -40, 30),
)


def started(clock: VirtualClock, **model: object) -> BoschModel:
    chip = BoschModel(clock, **model)  # type: ignore[arg-type]
    clock.sleep(0.002)
    return chip


def read(chip: BoschModel, register: int, length: int) -> bytes:
    chip.i2c_write(bytes([register]))
    return chip.i2c_read(length)


@pytest.mark.parametrize(
    ("raw", "celsius"),
    [(519888, 28.0307078763), (300000, -39.1298366594), (1048575, 230.0015694667)],
)
def test_temperature_in_real_numbers(raw: int, celsius: float) -> None:
    """Section 8.1, in rational numbers."""
    assert temperature_of(raw, TRIMMING) == pytest.approx(celsius, abs=1e-9)


@pytest.mark.parametrize(
    ("raw", "celsius", "pascals"),
    [(415148, 25.0, 99190.2993428), (300000, -20.0, 50272.7783523), (600000, 60.0, 140167.7547675)],
)
def test_pressure_in_real_numbers(raw: int, celsius: float, pascals: float) -> None:
    assert pressure_of(raw, celsius, TRIMMING) == pytest.approx(pascals, abs=1e-6)


@pytest.mark.parametrize(
    ("raw", "celsius", "percent"),
    [(30000, 25.0, 50.4472299403), (45000, -20.0, 119.1688708563), (23000, 60.0, 15.2349116578)],
)
def test_humidity_in_real_numbers(raw: int, celsius: float, percent: float) -> None:
    assert humidity_of(raw, celsius, TRIMMING) == pytest.approx(percent, abs=1e-9)


def test_a_divisor_of_zero_is_no_pressure() -> None:
    assert math.isnan(pressure_of(415148, 25.0, Calibration(p1=0)))


def test_the_example_is_the_default() -> None:
    """DS001 section 3.12, and a BME280's humidity trimming as its packed registers."""
    assert Calibration().pressure_block() == bytes.fromhex(
        "706b436718fc7d8e43d6d00b270b8c00f9ff8c3cf8c67017"
    )
    assert Calibration().h1 == 75
    assert Calibration().humidity_block() == bytes.fromhex("6f010012 2d 03 1e".replace(" ", ""))
    assert RawSample() == RawSample(519888, 415148, 30000)
    assert Air() == Air(21.5, 101_325.0, 45.0)
    assert BoschModel(VirtualClock()).variant is Variant.BMP280


@pytest.mark.parametrize("part", [0.0, 0.3, -0.3])
@pytest.mark.parametrize("raw", [0, 1, 300_000, 519_888, 0xFFFFE, 0xFFFFF])
def test_the_raw_values_of_air_are_the_nearest_ones(raw: int, part: float) -> None:
    c = Calibration()
    step = temperature_of(301, c) - temperature_of(300, c)
    air = Air(temperature_of(raw, c) + part * step)
    assert raw_for(air, c).temperature == raw


def test_pressure_falls_with_its_raw_value_and_humidity_rises() -> None:
    c = Calibration()
    for pressure, humidity in ((0, 0), (1, 1), (300_000, 0x8001), (0xFFFFF, 0xFFFF)):
        air = Air(25.08, pressure_of(pressure, 25.08, c), humidity_of(humidity, 25.08, c))
        chip = temperature_of(raw_for(air, c).temperature, c)
        raw = raw_for(Air(25.08, pressure_of(pressure, chip, c), humidity_of(humidity, chip, c)), c)
        assert (raw.pressure, raw.humidity) == (pressure, humidity)


def test_registers_of_a_bmp280() -> None:
    """DS001 table 18; what is not in it reads as 0."""
    chip = started(VirtualClock())
    registers = read(chip, 0x80, 0x80)
    assert registers[0x08:0x20] == Calibration().pressure_block()
    assert registers[0x50] == 0x58
    assert registers[0x77:] == bytes.fromhex("800000 800000 0000 00")
    known = {*range(0x08, 0x20), 0x50, 0x77, 0x7A}
    assert not any(value for i, value in enumerate(registers) if i not in known)
    assert read(chip, 0xFF, 2) == bytes(2)


def test_registers_of_a_bme280() -> None:
    """DS002 table 18: humidity's trimming, control and data as well."""
    chip = started(VirtualClock(), variant=Variant.BME280)
    registers = read(chip, 0x80, 0x80)
    assert registers[0x08:0x22] == Calibration().pressure_block() + b"\0\x4b"
    assert registers[0x50] == 0x60
    assert registers[0x60:0x69] == b"\0" + Calibration().humidity_block() + b"\0"
    assert registers[0x77:] == bytes.fromhex("800000 800000 8000 00")


def test_writes_reach_the_control_registers_alone() -> None:
    chip = started(VirtualClock(), variant=Variant.BME280)
    for register in {*range(0x80, 0x100)} - {0xE0, 0xF2, 0xF4, 0xF5}:
        before = read(chip, 0x80, 0x80)
        chip.i2c_write(bytes([register, 0xB6]))
        assert read(chip, 0x80, 0x80) == before
    chip.i2c_write(bytes([0xF5, 0xFF, 0xF2, 0xFD]))
    assert read(chip, 0xF2, 4) == b"\0\0\0\xfd"  # DS002: ctrl_hum counts after ctrl_meas
    chip.i2c_write(bytes([0xF4, 0x24]))
    assert read(chip, 0xF2, 4) == b"\x05\0\x24\xfd"
    bmp280 = started(VirtualClock())
    bmp280.i2c_write(bytes([0xF2, 0x01, 0xF4, 0x24]))
    assert read(bmp280, 0xF2, 1) == b"\0"


def test_a_reset_needs_its_word_and_takes_2_ms() -> None:
    """DS001 section 4.3.2: 0xB6 alone; table 1: start-up time 2 ms."""
    clock = VirtualClock()
    chip = BoschModel(clock)
    clock.sleep(0.0019)
    with pytest.raises(Nack):
        chip.i2c_read(1)
    clock.sleep(0.0001)
    chip.i2c_write(b"\xf5\x90\xf4\x24")
    for word in (0xB5, 0xB7):
        chip.i2c_write(bytes([0xE0, word]))
        assert read(chip, 0xF4, 2) == b"\x24\x90"
    chip.i2c_write(b"\xe0\xb6")
    for call in (lambda: chip.i2c_write(b"\xf4"), lambda: chip.i2c_read(1)):
        with pytest.raises(Nack):
            call()
    assert chip.spi_transfer(b"\xd0\0", 0) == b"\xff\xff"
    chip.power_cycle()
    clock.sleep(0.002)
    assert read(chip, 0xF4, 2) == b"\0\0"


def test_spi() -> None:
    """DS001 section 5.3: modes 00 and 11; bit 7 means read; pairs are written without it."""
    clock = VirtualClock()
    chip = started(clock)
    for mode, identity in ((0, b"\xff\x58"), (1, b"\xff\xff"), (2, b"\xff\xff"), (3, b"\xff\x58")):
        assert chip.spi_transfer(b"\xd0\0", mode) == identity
    assert chip.spi_transfer(b"", 0) == b""
    assert chip.spi_transfer(b"\x75\x90\x74\x24", 0) == b"\xff" * 4
    assert chip.spi_transfer(b"\xf4\0\0", 0) == b"\xff\x24\x90"
    assert chip.spi_max_hz == 10_000_000


def milliseconds(control: int, humidity: int = 0, **model: object) -> float:
    """How long a forced conversion takes, to a tenth."""
    clock = VirtualClock()
    chip = started(clock, **model)
    chip.i2c_write(bytes([0xF2, humidity, 0xF4, control]))
    tenths = 0
    while read(chip, 0xF3, 1) == b"\x08":
        clock.sleep(0.0001)
        tenths += 1
    assert read(chip, 0xF4, 1)[0] == control & 0xFC  # asleep again
    return tenths / 10


@pytest.mark.parametrize(
    ("code", "times"), [(0, 0), (1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 16), (7, 16)]
)
def test_how_long_a_conversion_takes(code: int, times: int) -> None:
    """DS001 section 3.8.1: 1 ms, 2 ms each time, and 0.5 ms for pressure and for humidity."""
    more = 0.5 if times else 0
    assert milliseconds(code << 5 | 1) == pytest.approx(1 + 2 * times, abs=0.11)
    assert milliseconds(code << 2 | 0x21) == pytest.approx(3 + 2 * times + more, abs=0.11)
    assert milliseconds(0x21, code) == pytest.approx(3, abs=0.11)
    wet = milliseconds(0x21, code, variant=Variant.BME280)
    assert wet == pytest.approx(3 + 2 * times + more, abs=0.11)


@pytest.mark.parametrize(
    ("variant", "standby"),
    [
        (Variant.BMP280, (0.5, 62.5, 125, 250, 500, 1000, 2000, 4000)),
        (Variant.BME280, (0.5, 62.5, 125, 250, 500, 1000, 10, 20)),
    ],
)
def test_how_long_the_chip_stands_by(variant: Variant, standby: tuple[float, ...]) -> None:
    """DS001 table 11, DS002 table 27: after a conversion of 3 ms."""
    for code, ms in enumerate(standby):
        clock = VirtualClock()
        chip = started(clock, variant=variant)
        chip.i2c_write(bytes([0xF5, code << 5, 0xF4, 0x23]))
        clock.sleep(0.00299)
        for expected, pause in ((8, 0.00002), (0, (ms - 0.02) / 1000), (0, 0.00002), (8, 1e-9)):
            assert read(chip, 0xF3, 1)[0] == expected
            clock.sleep(pause)


def test_a_conversion_that_has_just_ended_is_there() -> None:
    clock = VirtualClock()
    chip = started(clock)
    chip.i2c_write(b"\xf4\x27")
    clock.sleep(0.0054)
    assert read(chip, 0xF7, 6).hex() == "800000800000"
    clock.sleep(0.0002)
    assert read(chip, 0xF7, 6).hex() == "655ac07eed00"  # the data sheet's example


def test_what_is_not_converted_has_the_value_of_never() -> None:
    """DS001 section 3.4, DS002 section 3.4: 0x80000, and 0x8000 for humidity."""
    for control, humidity, data in (
        (0x21, 0, "800000 7eed00 8000"),
        (0x05, 0, "655ac0 800000 8000"),
        (0x25, 1, "655ac0 7eed00 7530"),
    ):
        clock = VirtualClock()
        chip = started(clock, variant=Variant.BME280)
        chip.i2c_write(bytes([0xF2, humidity, 0xF4, control]))
        clock.sleep(0.1)
        assert read(chip, 0xF7, 8) == bytes.fromhex(data)


@pytest.mark.parametrize(
    ("code", "coefficient"), [(0, 1), (1, 2), (2, 4), (3, 8), (4, 16), (7, 16)]
)
def test_the_filter_moves_by_a_part_of_the_difference(code: int, coefficient: int) -> None:
    """DS001 section 3.3.3."""
    clock = VirtualClock()
    chip = started(clock, source=RawSample(500_000, 400_000))
    chip.i2c_write(bytes([0xF5, code << 2, 0xF4, 0x25]))
    clock.sleep(0.1)
    assert read(chip, 0xF7, 6) == bytes.fromhex("61a800 7a1200")
    chip.source = RawSample(500_160, 400_320)
    chip.i2c_write(b"\xf4\x25")
    clock.sleep(0.1)
    data = read(chip, 0xF7, 6)
    assert int.from_bytes(data[:3], "big") >> 4 == 400_000 + 320 // coefficient
    assert int.from_bytes(data[3:], "big") >> 4 == 500_000 + 160 // coefficient


def test_years_of_conversions_are_not_made_one_by_one() -> None:
    """The conversions of the last moments alone, and at the times at which they would end."""
    clock = VirtualClock()
    seen: list[float] = []

    class Counted(BoschModel):
        def _finish(self) -> None:
            seen.append(clock.monotonic())
            super()._finish()

    chip = Counted(clock)
    clock.sleep(0.002)
    chip.i2c_write(b"\xf5\xa0\xf4\x23")  # 3 ms and 1000 ms
    clock.sleep(100_000 * 1.003 + 0.0015)
    assert read(chip, 0xF3, 1) == b"\x08"
    assert 30 <= len(seen) <= 40
    clock.sleep(0.002)
    assert read(chip, 0xF3, 1) == b"\0"
    clock.sleep(40 * 1.003)
    before = len(seen)
    read(chip, 0xF3, 1)
    assert 32 <= len(seen) - before <= 40


def test_noise_is_about_the_value_and_repeatable() -> None:
    def pressures(seed: int) -> list[tuple[int, int]]:
        clock = VirtualClock()
        chip = started(clock, source=Air(), noise=10.0, seed=seed)
        seen = []
        for _ in range(100):
            chip.i2c_write(b"\xf4\x25")
            clock.sleep(0.01)
            data = read(chip, 0xF7, 6)
            high, low = int.from_bytes(data[:3], "big"), int.from_bytes(data[3:], "big")
            seen.append((high >> 4, low >> 4))
        return seen

    quiet = raw_for(Air(), Calibration())
    noisy = pressures(1)
    for values, middle in zip(
        zip(*noisy, strict=True), (quiet.pressure, quiet.temperature), strict=True
    ):
        assert abs(statistics.mean(values) - middle) < 4
        assert 7 < statistics.stdev(values) < 13
    assert pressures(1) == noisy
    assert pressures(2) != noisy
