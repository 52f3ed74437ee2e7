"""Formulas of the BMP280 and BME280: the data sheets' example and code, in every form."""

from __future__ import annotations

import itertools
from fractions import Fraction

import pytest
from chipmodels.bosch import Calibration as ModelCalibration
from hypothesis import given, settings
from hypothesis import strategies as st
from sensor_rig import EXAMPLE_CALIBRATION, EXAMPLE_DATA
from sensorkit.drivers import bosch_math
from sensorkit.drivers.bosch import parse_data
from sensorkit.errors import InvalidReading

from tests.examples import examples

EXAMPLE = bosch_math.Calibration.parse(EXAMPLE_CALIBRATION)


class TestWorkedExample:
    """BST-BMP280-DS001 section 3.12."""

    def test_calibration_is_parsed(self) -> None:
        assert (
            bosch_math.Calibration(
                27504, 26435, -1000, 36477, -10685, 3024, 2855, 140, -7, 15500, -14600, 6000
            )
            == EXAMPLE
        )

    def test_data_registers_are_parsed(self) -> None:
        raw = parse_data(EXAMPLE_DATA)
        assert (raw.temperature, raw.pressure, raw.humidity) == (519888, 415148, None)

    def test_integers_to_the_last_digit(self) -> None:
        t_fine = bosch_math.fine_temperature(519888, EXAMPLE)
        assert t_fine == 128422
        assert bosch_math.centidegrees(t_fine) == 2508
        assert bosch_math.pressure_q24_8(415148, t_fine, EXAMPLE) == 25767233
        assert bosch_math.pressure_int32(415148, t_fine, EXAMPLE) == 100656

    def test_floats_to_the_last_digit(self) -> None:
        celsius, t_fine = bosch_math.temperature_float(519888, EXAMPLE)
        assert f"{celsius:.5f}" == "25.08248"
        assert f"{bosch_math.pressure_float(415148, t_fine, EXAMPLE):.3f}" == "100653.267"


@settings(max_examples=examples(300))
@given(
    raw_t=st.integers(0x10000, 0xF0000),
    raw_p=st.integers(0x10000, 0xF0000),
    t=st.tuples(st.integers(20000, 32000), st.integers(20000, 32000), st.integers(-32768, 32767)),
    p=st.tuples(st.integers(30000, 65535), *[st.integers(-12000, 12000)] * 8),
)
def test_integer_and_double_forms_agree(
    raw_t: int, raw_p: int, t: tuple[int, int, int], p: tuple[int, ...]
) -> None:
    calibration = bosch_math.Calibration(*t, *p)
    celsius, fine_float = bosch_math.temperature_float(raw_t, calibration)
    t_fine = bosch_math.fine_temperature(raw_t, calibration)
    # The integer form shifts away up to one count of t_fine per shift of a 15-bit factor.
    assert abs(t_fine / 5120 - celsius) < 0.02
    if not -40 <= celsius <= 85:
        return
    by_float = bosch_math.pressure_float(raw_p, fine_float, calibration)
    by_int = bosch_math.pressure_q24_8(raw_p, t_fine, calibration) / 256
    # Each data-sheet form is fed its own t_fine; the sensitivity to it bounds the difference.
    moved = bosch_math.pressure_float(raw_p, fine_float + 5120 * 0.02, calibration)
    assert abs(by_int - by_float) <= 2 * abs(moved - by_float) + 2 + abs(by_float) * 1e-4


@pytest.mark.slow
@settings(max_examples=examples(200))
@given(raw=st.integers(200_000, 700_000), t_fine=st.integers(-100_000, 350_000))
def test_the_32_bit_form_agrees_with_the_64_bit_one(raw: int, t_fine: int) -> None:
    """DS001 8.2 calls it less exact: it is off by some pascals at the ends of the range."""
    exact = bosch_math.pressure_q24_8(raw, t_fine, EXAMPLE) / 256
    assert bosch_math.pressure_int32(raw, t_fine, EXAMPLE) == pytest.approx(exact, abs=25, rel=2e-4)


@pytest.mark.parametrize(("a", "b", "quotient"), [(-1, 3, 0), (-7, 2, -3), (7, -2, -3), (7, 2, 3)])
def test_division_truncates_as_c_does(a: int, b: int, quotient: int) -> None:
    assert bosch_math._truncated_quotient(a, b) == quotient


@settings(max_examples=examples(200))
@given(raw=st.integers(0, 0xFFFF), t_fine=st.integers(-200000, 440000))
def test_humidity_agrees_with_the_models_real_arithmetic(raw: int, t_fine: int) -> None:
    from chipmodels.bosch import humidity_of

    model = ModelCalibration()
    calibration = bosch_math.HumidityCalibration.parse(model.h1, model.humidity_block())
    expected = min(100.0, max(0.0, humidity_of(raw, t_fine / 5120, model)))
    assert abs(bosch_math.humidity_q22_10(raw, t_fine, calibration) / 1024 - expected) < 0.1


@given(h4=st.integers(-2048, 2047), h5=st.integers(-2048, 2047))
def test_twelve_bit_trimming_survives_its_shared_byte(h4: int, h5: int) -> None:
    block = ModelCalibration(h4=h4, h5=h5).humidity_block()
    parsed = bosch_math.HumidityCalibration.parse(75, block)
    assert (parsed.h4, parsed.h5) == (h4, h5)


# The code of the data sheets, step by step as printed: the drivers' forms are held against it.
TRIMMING = bosch_math.Calibration(
    *(27000, 26000, 9000, 37000, -10000, 29000, 5000, -3000, -300, 12000, -15000, 30000)
)


FINE = [-150_007, -1, 0, 64_123, 128_422, 300_011]


RAW = [150_001, 288_888, 300_007, 415_148, 519_888, 700_003]


def sheet_fine(adc: int, c: bosch_math.Calibration) -> int:
    """DS001 section 3.11.3."""
    var1 = (((adc >> 3) - (c.t1 << 1)) * c.t2) >> 11
    var2 = (((((adc >> 4) - c.t1) * ((adc >> 4) - c.t1)) >> 12) * c.t3) >> 14
    return var1 + var2


def sheet_pascals_64(adc: int, t_fine: int, c: bosch_math.Calibration) -> int:
    """DS001 section 3.11.3; the division is that of C."""
    var1 = t_fine - 128000
    var2 = var1 * var1 * c.p6
    var2 = var2 + ((var1 * c.p5) << 17)
    var2 = var2 + (c.p4 << 35)
    var1 = ((var1 * var1 * c.p3) >> 8) + ((var1 * c.p2) << 12)
    var1 = (((1 << 47) + var1) * c.p1) >> 33
    p = 1048576 - adc
    p = int(Fraction(((p << 31) - var2) * 3125, var1))
    var1 = (c.p9 * (p >> 13) * (p >> 13)) >> 25
    var2 = (c.p8 * p) >> 19
    return ((p + var1 + var2) >> 8) + (c.p7 << 4)


def sheet_pascals_32(adc: int, t_fine: int, c: bosch_math.Calibration) -> int:
    """DS001 section 8.2; the pressure is an unsigned number of 32 bits."""
    var1 = (t_fine >> 1) - 64000
    var2 = (((var1 >> 2) * (var1 >> 2)) >> 11) * c.p6
    var2 = var2 + ((var1 * c.p5) << 1)
    var2 = (var2 >> 2) + (c.p4 << 16)
    var1 = (((c.p3 * (((var1 >> 2) * (var1 >> 2)) >> 13)) >> 3) + ((c.p2 * var1) >> 1)) >> 18
    var1 = ((32768 + var1) * c.p1) >> 15
    p = (((1048576 - adc) - (var2 >> 12)) * 3125) % (1 << 32)
    p = ((p << 1) % (1 << 32)) // var1 if p < 0x80000000 else (p // var1) * 2
    var1 = (c.p9 * (((p >> 3) * (p >> 3)) >> 13)) >> 12
    var2 = ((p >> 2) * c.p8) >> 13
    return p + ((var1 + var2 + c.p7) >> 4)


def sheet_humidity(adc: int, t_fine: int, c: bosch_math.HumidityCalibration) -> int:
    """DS002 section 4.2.3, before the limits."""
    v = t_fine - 76800
    v = ((((adc << 14) - (c.h4 << 20) - (c.h5 * v)) + 16384) >> 15) * (
        ((((((v * c.h6) >> 10) * (((v * c.h3) >> 11) + 32768)) >> 10) + 2097152) * c.h2 + 8192)
        >> 14
    )
    v = v - (((((v >> 15) * (v >> 15)) >> 7) * c.h1) >> 4)
    return v >> 12


@pytest.mark.parametrize("c", [EXAMPLE, TRIMMING])
def test_the_forms_of_the_bmp280_are_those_of_the_data_sheet(c: bosch_math.Calibration) -> None:
    for raw in (*RAW, *range(400_000, 400_200, 7)):
        assert bosch_math.fine_temperature(raw, c) == sheet_fine(raw, c)
    for raw, t_fine in itertools.product(RAW, FINE):
        exact = sheet_pascals_64(raw, t_fine, c)
        assert bosch_math.pressure_q24_8(raw, t_fine, c) == exact
        assert bosch_math.pressure_int32(raw, t_fine, c) == sheet_pascals_32(raw, t_fine, c)


@pytest.mark.parametrize("c", [EXAMPLE, TRIMMING])
def test_the_double_forms_are_those_of_the_data_sheet(c: bosch_math.Calibration) -> None:
    """DS001 section 8.1, in rational numbers."""
    for raw, t_fine in itertools.product(RAW, FINE):
        var1 = (Fraction(raw, 16384) - Fraction(c.t1, 1024)) * c.t2
        var2 = (Fraction(raw, 131072) - Fraction(c.t1, 8192)) ** 2 * c.t3
        celsius, fine = bosch_math.temperature_float(raw, c)
        assert fine == pytest.approx(float(var1 + var2), rel=1e-12)
        assert celsius == pytest.approx(float((var1 + var2) / 5120), rel=1e-12)
        var1 = Fraction(t_fine, 2) - 64000
        var2 = var1 * var1 * c.p6 / 32768 + var1 * c.p5 * 2
        var2 = var2 / 4 + c.p4 * 65536
        var1 = (c.p3 * var1 * var1 / 524288 + c.p2 * var1) / 524288
        var1 = (1 + var1 / 32768) * c.p1
        p = (1048576 - raw - var2 / 4096) * 6250 / var1
        p = p + (c.p9 * p * p / 2147483648 + p * c.p8 / 32768 + c.p7) / 16
        assert bosch_math.pressure_float(raw, t_fine, c) == pytest.approx(float(p), rel=1e-11)


def test_the_form_of_the_bme280_is_that_of_the_data_sheet() -> None:
    for c in (
        bosch_math.HumidityCalibration(75, 367, 0, 301, 50, 30),
        bosch_math.HumidityCalibration(120, 361, 90, 330, -40, -30),
    ):
        for raw, t_fine in itertools.product(range(19_001, 45_000, 1777), FINE):
            found = bosch_math.unlimited_humidity_q22_10(raw, t_fine, c)
            assert found == sheet_humidity(raw, t_fine, c)
            assert bosch_math.humidity_q22_10(raw, t_fine, c) == min(max(found, 0), 102400)


def test_hundredths_of_a_degree_are_rounded() -> None:
    """DS001 section 3.11.3: (t_fine * 5 + 128) >> 8."""
    found = [bosch_math.centidegrees(t) for t in (0, 25, 26, 51, 76, 77, 128_422, -26, -25)]
    assert found == [0, 0, 1, 1, 1, 2, 2508, -1, 0]


def test_division_by_zero_is_an_invalid_reading() -> None:
    zero = bosch_math.Calibration(27504, 26435, -1000, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    for formula in (
        bosch_math.pressure_q24_8,
        bosch_math.pressure_int32,
        bosch_math.pressure_float,
    ):
        with pytest.raises(InvalidReading):
            formula(415148, 128422, zero)
