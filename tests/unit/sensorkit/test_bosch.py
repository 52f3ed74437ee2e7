"""BMP280 and BME280: the data sheet's example in every form, transfers, refusals."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from chipmodels.bosch import Air, BoschModel, RawSample, Variant
from chipmodels.bosch import Calibration as ModelCalibration
from hypothesis import given, settings
from hypothesis import strategies as st
from sensorkit.bus.registers import Registers
from sensorkit.drivers import bosch_math
from sensorkit.drivers.bosch import Bosch280, BoschSettings, Chip, Mode, parse_data
from sensorkit.errors import (
    BadCalibration,
    InvalidReading,
    LostSettings,
    NotReady,
    SensorError,
    WrongChip,
)
from sensorkit.measurement import Sample

from tests.unit.sensorkit.rig import EXAMPLE_CALIBRATION, EXAMPLE_DATA, Rig

EXAMPLE = bosch_math.Calibration.parse(EXAMPLE_CALIBRATION)


def by_key(sample: Sample) -> dict[str, float]:
    return {m.channel.key: m.value for m in sample}


def bmp280(rig: Rig, front: str = "smbus", **model: object) -> Registers:
    chip = BoschModel(rig.clock, **model)  # type: ignore[arg-type]
    rig.chips[0x77] = chip
    rig.selects[0] = chip
    rig.clock.sleep(0.002)  # the chip's start-up
    return {"smbus": rig.smbus(0x77), "rdwr": rig.rdwr(0x77), "spi": rig.spi()}[front]


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

    @pytest.mark.parametrize("front", ["smbus", "rdwr", "spi"])
    @pytest.mark.parametrize("mode", list(Mode))
    def test_through_each_bus(self, front: str, mode: Mode) -> None:
        rig = Rig()
        driver = Bosch280(bmp280(rig, front), rig.clock, BoschSettings(mode=mode))
        driver.start()
        values = by_key(driver.sample())
        assert values == {"temperature": 128422 / 5120, "pressure": 25767233 / 256}


@settings(max_examples=300)
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


@settings(max_examples=200)
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


def test_planted_air_is_measured_by_a_bme280() -> None:
    rig = Rig()
    air = Air(21.5, 98_765.0, 45.0)
    registers = bmp280(rig, variant=Variant.BME280, source=air)
    driver = Bosch280(registers, rig.clock, BoschSettings(), Chip.BME280)
    driver.start()
    values = by_key(driver.sample())
    assert values["temperature"] == pytest.approx(21.5, abs=0.01)
    assert values["pressure"] == pytest.approx(98_765, abs=1)
    assert values["humidity"] == pytest.approx(0.45, abs=0.001)


def test_a_sample_in_normal_mode_is_one_transfer() -> None:
    rig = Rig()
    driver = Bosch280(bmp280(rig), rig.clock)
    driver.start()
    rig.adapter.log.clear()
    driver.sample()
    assert len(rig.adapter.log) == 1


def test_a_sample_in_forced_mode_is_two_transfers() -> None:
    rig = Rig()
    driver = Bosch280(bmp280(rig), rig.clock, BoschSettings(mode=Mode.FORCED))
    driver.start()
    rig.clock.sleep(1)
    rig.adapter.log.clear()
    driver.sample()
    assert len(rig.adapter.log) == 2


def test_configuration_is_written_in_sleep_mode_before_measuring() -> None:
    rig = Rig()
    Bosch280(bmp280(rig), rig.clock, BoschSettings(filter=16, interval=0.6)).start()
    writes = [t.messages[0].data for t in rig.adapter.log if len(t.messages) == 1]
    # 0x90: standby 500 ms is the longest below 0.6 s less the conversion; filter 16.
    assert writes == [b"\xe0\xb6", b"\xf5\x90", b"\xf4\x57"]


def test_forced_mode_gives_fresh_values() -> None:
    rig = Rig()
    air = Air()
    driver = Bosch280(bmp280(rig, source=air), rig.clock, BoschSettings(mode=Mode.FORCED, filter=0))
    driver.start()
    driver.sample()
    air.temperature_celsius = 30.0
    rig.clock.sleep(60)
    assert by_key(driver.sample())["temperature"] == pytest.approx(30.0, abs=0.01)


def test_skipped_pressure_is_no_channel_and_no_value() -> None:
    rig = Rig()
    driver = Bosch280(bmp280(rig), rig.clock, BoschSettings(pressure_oversampling=0))
    driver.start()
    assert [c.key for c in driver.channels] == ["temperature"]
    assert set(by_key(driver.sample())) == {"temperature"}


def test_the_other_chip_is_named() -> None:
    rig = Rig()
    driver = Bosch280(bmp280(rig, variant=Variant.BME280), rig.clock)
    with pytest.raises(WrongChip, match="id 0x60 is a BME280; BMP280 was expected"):
        driver.start()


def test_early_samples_of_the_chip_are_accepted() -> None:
    rig = Rig()
    Bosch280(bmp280(rig, variant=Variant.BMP280_SAMPLE), rig.clock).start()


def test_never_measured_is_no_value() -> None:
    rig = Rig()
    driver = Bosch280(bmp280(rig, source=RawSample(0x80000, 415148)), rig.clock)
    driver.start()
    with pytest.raises(InvalidReading, match="0x80000"):
        driver.sample()


@pytest.mark.parametrize(("celsius", "pascals"), [(84.9, 1_000), (21, 200_000), (120, 100_000)])
def test_implausible_values_do_not_leave(celsius: float, pascals: float) -> None:
    rig = Rig()
    driver = Bosch280(bmp280(rig, source=Air(celsius, pascals)), rig.clock)
    driver.start()
    with pytest.raises(InvalidReading, match="not between"):
        driver.sample()


@pytest.mark.parametrize("mode", list(Mode))
def test_a_reset_between_samples_is_noticed(mode: Mode) -> None:
    rig = Rig()
    registers = bmp280(rig)
    driver = Bosch280(registers, rig.clock, BoschSettings(mode=mode))
    driver.start()
    driver.sample()
    rig.chips[0x77].power_cycle()  # type: ignore[attr-defined]
    rig.clock.sleep(0.01)
    with pytest.raises(LostSettings):
        driver.sample()


class Scripted:
    """Registers whose every read is what `answer` says."""

    def __init__(self, answer: Callable[[int, int], bytes]) -> None:
        self._answer = answer

    def read(self, register: int, length: int) -> bytes:
        return self._answer(register, length)

    def write(self, register: int, *values: int) -> None:
        pass


def test_calibration_that_changes_between_reads_is_refused() -> None:
    reads = iter([EXAMPLE_CALIBRATION, EXAMPLE_CALIBRATION[:-1] + b"\0"])
    single = {0xF3: b"\0", 0xD0: b"\x58"}
    driver = Bosch280(
        Scripted(lambda register, _: single.get(register) or next(reads)), Rig().clock
    )
    with pytest.raises(BadCalibration, match="differ"):
        driver.start()


@pytest.mark.parametrize("byte", [0x00, 0xFF])
def test_empty_calibration_is_refused(byte: int) -> None:
    with pytest.raises(BadCalibration):
        bosch_math.Calibration.parse(bytes([byte]) * 24)


def test_division_by_zero_is_an_invalid_reading() -> None:
    zero = bosch_math.Calibration(27504, 26435, -1000, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    for formula in (
        bosch_math.pressure_q24_8,
        bosch_math.pressure_int32,
        bosch_math.pressure_float,
    ):
        with pytest.raises(InvalidReading):
            formula(415148, 128422, zero)


def test_a_conversion_that_never_ends_is_reported() -> None:
    wanted = BoschSettings(mode=Mode.FORCED, filter=0, interval=0.05)
    blocks = {0xF3: bytes([8, 0x55, 0, 0]) + EXAMPLE_DATA}
    driver = Bosch280(Scripted(lambda register, _: blocks[register]), Rig().clock, wanted)
    with pytest.raises(NotReady, match="still converts after 5 polls"):
        driver.sample()


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_bytes_give_measurements_or_a_sensor_error(data: st.DataObject) -> None:
    driver = Bosch280(
        Scripted(lambda _, length: data.draw(st.binary(min_size=length, max_size=length))),
        Rig().clock,
    )
    try:
        driver.start()
        driver.sample()
    except SensorError:
        return
