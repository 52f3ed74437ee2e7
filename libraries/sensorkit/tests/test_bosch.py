"""BMP280 and BME280: transfers, values that are left out, refusals."""

from __future__ import annotations

import contextlib
import struct
from collections import Counter

import pytest
from chipmodels.bosch import Air, BoschModel, RawSample, Variant
from chipmodels.bosch import Calibration as ModelCalibration
from chipmodels.target import Nack
from hypothesis import given, settings
from hypothesis import strategies as st
from sensor_rig import EXAMPLE_CALIBRATION, EXAMPLE_DATA, Rig, Scripted, by_key
from sensorkit.bus.registers import Registers
from sensorkit.drivers import bosch, bosch_math
from sensorkit.drivers.bosch import Bosch280, BoschSettings, Chip, Mode
from sensorkit.errors import (
    BadCalibration,
    InvalidReading,
    LostSettings,
    NotReady,
    SensorError,
    WrongChip,
)

from tests.branches import QUICK, at_least
from tests.examples import examples


def bmp280(rig: Rig, front: str = "smbus", **model: object) -> Registers:
    chip = BoschModel(rig.clock, **model)  # type: ignore[arg-type]
    rig.chips[0x77] = chip
    rig.selects[0] = chip
    rig.clock.sleep(0.002)  # the chip's start-up
    return {"smbus": rig.smbus(0x77), "rdwr": rig.rdwr(0x77), "spi": rig.spi()}[front]


@pytest.mark.parametrize("front", ["smbus", "rdwr", "spi"])
@pytest.mark.parametrize("mode", list(Mode))
def test_the_worked_example_is_measured_through_each_bus(front: str, mode: Mode) -> None:
    """BST-BMP280-DS001 section 3.12."""
    rig = Rig()
    driver = Bosch280(bmp280(rig, front), rig.clock, BoschSettings(mode=mode))
    driver.start()
    values = by_key(driver.sample())
    assert values == {"temperature": 128422 / 5120, "pressure": 25767233 / 256}


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
    driver = rig.started(Bosch280(bmp280(rig), rig.clock))
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
    with pytest.raises(WrongChip) as caught:
        driver.start()
    message = "id 0x60 is a BME280; expected BMP280: set chip to bme280"
    assert str(caught.value) == message


def test_early_samples_of_the_chip_are_accepted() -> None:
    rig = Rig()
    Bosch280(bmp280(rig, variant=Variant.BMP280_SAMPLE), rig.clock).start()


def test_never_measured_is_no_value() -> None:
    rig = Rig()
    driver = Bosch280(bmp280(rig, source=RawSample(0x80000, 415148)), rig.clock)
    driver.start()
    with pytest.raises(InvalidReading, match="0x80000"):
        driver.sample()


@pytest.mark.parametrize(("celsius", "pascals"), [(84.9, 1_000), (21, 200_000)])
def test_a_pressure_that_the_chip_cannot_measure_does_not_lose_the_temperature(
    celsius: float, pascals: float
) -> None:
    """DS001 table 2: 300 to 1100 hPa."""
    rig = Rig()
    driver = Bosch280(bmp280(rig, source=Air(celsius, pascals)), rig.clock)
    driver.start()
    assert by_key(driver.sample()) == {"temperature": pytest.approx(celsius, abs=0.01)}


@pytest.mark.parametrize("celsius", [-40.5, 85.5, 120])
def test_without_a_temperature_nothing_leaves(celsius: float) -> None:
    """DS001 table 2: -40 to 85 °C. The other values are compensated with the temperature."""
    rig = Rig()
    driver = Bosch280(bmp280(rig, source=Air(celsius, 100_000)), rig.clock)
    driver.start()
    with pytest.raises(InvalidReading, match=r"temperature .* is not between -40 and 85"):
        driver.sample()


def bme280(rig: Rig, raw: RawSample, **trimming: int) -> Bosch280:
    registers = bmp280(
        rig, variant=Variant.BME280, source=raw, calibration=ModelCalibration(**trimming)
    )
    driver = Bosch280(registers, rig.clock, chip=Chip.BME280)
    driver.start()
    return driver


@pytest.mark.parametrize("raw", [0, 0x8000, 0xFFFF])
def test_humidity_at_its_converters_end_or_skipped_is_left_out(raw: int) -> None:
    """DS002 section 4: 16 bits, and 0x8000 for what was skipped."""
    driver = bme280(Rig(), RawSample(519888, 415148, raw))
    assert set(by_key(driver.sample())) == {"temperature", "pressure"}


@pytest.mark.parametrize(("pressure", "raw"), [(0, 415148), (0x80000, 1), (0xFFFFF, 2)])
def test_pressure_at_its_converters_end_or_skipped_is_left_out(pressure: int, raw: int) -> None:
    driver = bme280(Rig(), RawSample(519888, pressure, 30000))
    assert set(by_key(driver.sample())) == {"temperature", "humidity"}


@pytest.mark.parametrize("temperature", [0, 0xFFFF0, 0xFFFFF])
def test_temperature_at_its_converters_end_is_no_sample(temperature: int) -> None:
    driver = bme280(Rig(), RawSample(temperature, 415148, 30000))
    with pytest.raises(InvalidReading, match="temperature saturates its converter"):
        driver.sample()


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        # By the double form (DS002 8.1): v = (raw - 19421.5) * 0.0057293, v * (1 - 75 v / 524288).
        (37300, 1.0),  # 100.9 % before the data sheet's code limits it: fog
        (39700, None),  # 114.3 %: no humidity
        (19300, 0.0),  # -0.7 %: dry air, within the tolerance
        (17200, None),  # -12.8 %
    ],
)
def test_humidity_is_limited_within_the_chips_tolerance_only(
    raw: int, expected: float | None
) -> None:
    driver = bme280(Rig(), RawSample(519888, 415148, raw))
    assert by_key(driver.sample()).get("humidity") == expected


EMPTY = {"h1": 0, "h2": 0, "h3": 0, "h4": 0, "h5": 0, "h6": 0}


ERASED = {"h1": 255, "h2": -1, "h3": 255, "h4": -1, "h5": -1, "h6": -1}


@pytest.mark.parametrize("trimming", [EMPTY, ERASED, EMPTY | {"h1": 75}, ERASED | {"h1": 75}])
def test_humidity_trimming_that_is_empty_is_refused(trimming: dict[str, int]) -> None:
    with pytest.raises(BadCalibration, match="humidity"):
        bme280(Rig(), RawSample(), **trimming)


def test_reserved_bits_of_the_status_are_no_lost_settings() -> None:
    """DS001 table 21: bits 3 and 0 mean something; a real chip in normal mode has shown 0x0c."""

    class Dumped(BoschModel):
        def reg_read(self, register: int) -> int:
            return 0xF4 | 0x08 if register == 0xF3 else super().reg_read(register)

    rig = Rig()
    rig.chips[0x77] = Dumped(rig.clock)
    rig.clock.sleep(0.002)
    driver = Bosch280(rig.smbus(0x77), rig.clock)
    driver.start()
    assert set(by_key(driver.sample())) == {"temperature", "pressure"}


def test_the_filter_is_off_in_forced_mode_unless_it_is_asked_for() -> None:
    """DS001 table 15: config bits 4..2 are 000 when off, 010 for 4; standby 0.5 s is 100."""
    for chosen, expected in (
        (BoschSettings(mode=Mode.FORCED), 0x80),
        (BoschSettings(mode=Mode.FORCED, filter=4), 0x88),
        (BoschSettings(mode=Mode.NORMAL), 0x88),
        (BoschSettings(mode=Mode.NORMAL, filter=0), 0x80),
    ):
        rig = Rig()
        Bosch280(bmp280(rig), rig.clock, chosen).start()
        assert rig.chips[0x77].reg_read(0xF5) == expected  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("identity", "message"),
    [
        (0x55, "id 0x55 is a BMP180; expected BMP280"),
        (0x61, "id 0x61 is a BME680 or BME688; expected BMP280"),
        (0x00, "id 0x00 is no chip of this family; expected BMP280"),
    ],
)
def test_a_relative_without_a_driver_is_named(identity: int, message: str) -> None:
    class Relative(BoschModel):
        def reg_read(self, register: int) -> int:
            return identity if register == 0xD0 else super().reg_read(register)

    rig = Rig()
    rig.chips[0x77] = Relative(rig.clock)
    rig.clock.sleep(0.002)
    with pytest.raises(WrongChip) as caught:
        Bosch280(rig.smbus(0x77), rig.clock).start()
    assert str(caught.value) == message


class TestModel:
    """Behaviour by the data sheet that the drivers do not need; values computed by hand."""

    def started(self, config: int, control: int, **model: object) -> tuple[BoschModel, Rig]:
        rig = Rig()
        chip = BoschModel(rig.clock, **model)  # type: ignore[arg-type]
        rig.clock.sleep(0.002)
        chip.i2c_write(bytes([0xF5, config, 0xF4, control]))
        return chip, rig

    def raw_pressure(self, chip: BoschModel) -> int:
        chip.i2c_write(b"\xf7")
        return int.from_bytes(chip.i2c_read(3), "big") >> 4

    def test_measuring_is_set_while_a_conversion_runs_and_not_in_standby(self) -> None:
        """DS001 table 21 and section 3.8.1: 1 + 2 + 2 + 0.5 = 5.5 ms of each 505.5 ms."""
        chip, rig = self.started(0x80, 0x27)
        seen = []
        for _ in range(1011):
            chip.i2c_write(b"\xf3")
            seen.append(chip.i2c_read(1)[0])
            rig.clock.sleep(0.0005)
        assert set(seen) == {0, 8}
        assert seen.count(8) == 11

    def test_the_filter_mixes_new_values_with_the_last_ones(self) -> None:
        """DS001 section 3.3.3: (old * (coefficient - 1) + new) / coefficient, here with 4."""
        chip, rig = self.started(0x08, 0x27, source=RawSample(519888, 400_000))
        rig.clock.sleep(0.0056)
        assert self.raw_pressure(chip) == 400_000
        chip.source = RawSample(519888, 400_400)
        pressures = []
        for _ in range(3):
            rig.clock.sleep(0.006)
            pressures.append(self.raw_pressure(chip))
        assert pressures == [400_100, 400_175, 400_231]

    def test_writing_the_filter_empties_its_memory(self) -> None:
        chip, rig = self.started(0x08, 0x27, source=RawSample(519888, 400_000))
        rig.clock.sleep(0.0056)
        self.raw_pressure(chip)
        chip.source = RawSample(519888, 400_400)
        chip.i2c_write(bytes([0xF4, 0x24, 0xF5, 0x08, 0xF4, 0x27]))
        rig.clock.sleep(0.0056)
        assert self.raw_pressure(chip) == 400_400

    def test_what_is_skipped_keeps_its_filter_memory(self) -> None:
        chip, rig = self.started(0x08, 0x25, source=RawSample(519888, 400_000))
        rig.clock.sleep(0.0056)
        assert self.raw_pressure(chip) == 400_000
        chip.source = RawSample(519888, 500_000)
        chip.i2c_write(b"\xf4\x21")  # pressure skipped
        rig.clock.sleep(0.0056)
        assert self.raw_pressure(chip) == 0x80000
        chip.source = RawSample(519888, 400_400)
        chip.i2c_write(b"\xf4\x25")
        rig.clock.sleep(0.0056)
        assert self.raw_pressure(chip) == 400_100

    @pytest.mark.parametrize(("mode", "taken"), [(0, True), (1, True), (2, True), (3, False)])
    def test_config_is_taken_in_every_mode_but_normal(self, mode: int, taken: bool) -> None:
        """DS001 section 4.3.5: writes may be ignored in normal mode."""
        chip, _ = self.started(0x10, 0x24 | mode)
        chip.i2c_write(b"\xf5\xa8")
        assert chip.reg_read(0xF5) == (0xA8 if taken else 0x10)

    def test_spi_closes_the_i2c_side_until_power_on(self) -> None:
        """DS001 section 5.1: once CSB was low."""
        chip, rig = self.started(0, 0)
        chip.i2c_write(b"\xd0")
        assert chip.i2c_read(1) == b"\x58"
        assert chip.spi_transfer(b"\xd0\x00", 0) == b"\xff\x58"
        with pytest.raises(Nack):
            chip.i2c_write(b"\xd0")
        with pytest.raises(Nack):
            chip.i2c_read(1)
        chip.power_cycle()
        rig.clock.sleep(0.002)
        chip.i2c_write(b"\xd0")
        assert chip.i2c_read(1) == b"\x58"


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


@pytest.mark.parametrize(
    ("at", "letter", "empty"),
    [(0, "<H", 0), (0, "<H", 0xFFFF), (2, "<h", 0), (2, "<h", -1), (6, "<H", 0), (6, "<H", 0xFFFF)],
)
def test_each_value_without_which_nothing_can_be_computed_is_looked_at(
    at: int, letter: str, empty: int
) -> None:
    """DS001 table 17: T1, T2 and P1, of which erased memory is all ones."""
    block = bytearray(EXAMPLE_CALIBRATION)
    struct.pack_into(letter, block, at, empty)
    with pytest.raises(BadCalibration, match=f"calibration {block.hex()} is empty"):
        bosch_math.Calibration.parse(bytes(block))
    struct.pack_into(letter, block, at, empty + 1 if empty in (0, -2) else empty - 1)
    assert bosch_math.Calibration.parse(bytes(block))


@pytest.mark.parametrize(
    ("chip", "conversion", "standby"),
    [
        (Chip.BMP280, 43.225, (0.5, 62.5, 125, 250, 500, 1000, 2000, 4000)),
        (Chip.BME280, 46.1, (0.5, 62.5, 125, 250, 500, 1000, 10, 20)),
    ],
)
def test_the_chip_stands_by_as_long_as_the_interval_permits(
    chip: Chip, conversion: float, standby: tuple[float, ...]
) -> None:
    """DS001 tables 11 and 13, DS002 table 27 and 9.1: 1.25 + 2.3 * 2 + 2.3 * 16 + 0.575 ms."""
    for code, ms in enumerate(standby):
        for more, chosen in ((0.01, True), (-0.01, ms == 0.5)):
            wanted = BoschSettings(interval=(ms + conversion + more) / 1000)
            driver = Bosch280(Scripted(lambda *_: b""), Rig().clock, wanted, chip)
            assert driver.conversion_seconds() * 1000 == pytest.approx(conversion)
            assert (driver._config >> 5 == code) is chosen


@pytest.mark.parametrize("statuses", [(0,), (1, 0), (1, 9, 0x0C)])
def test_a_reset_is_over_when_the_calibration_was_copied(statuses: tuple[int, ...]) -> None:
    """DS001 table 21: bit 0 of the status is set meanwhile; 2 ms pass before each look."""
    left = list(statuses)
    rig = Rig()
    registers = Scripted(lambda register, _: bytes([left.pop(0) if register == 0xF3 else 0]))
    with pytest.raises(WrongChip):
        Bosch280(registers, rig.clock).start()
    assert left == []
    assert rig.clock.monotonic() == pytest.approx(0.002 * len(statuses))


@pytest.mark.parametrize(
    ("parts", "ratio"),
    [(112_640, 1.0), (112_641, None), (-10_240, 0.0), (-10_241, None), (51_200, 0.5)],
)
def test_humidity_up_to_the_tolerance_is_limited_and_no_further(
    monkeypatch: pytest.MonkeyPatch, parts: int, ratio: float | None
) -> None:
    """1024 parts a per cent; -0.1 and 1.1 are as far as a chip may be off."""
    monkeypatch.setattr(bosch, "unlimited_humidity_q22_10", lambda *_: parts)
    monkeypatch.setattr(bosch, "humidity_q22_10", lambda *_: min(max(parts, 0), 102400))
    driver = bme280(Rig(), RawSample())
    assert by_key(driver.sample()).get("humidity") == ratio


def test_a_conversion_that_never_ends_is_reported() -> None:
    wanted = BoschSettings(mode=Mode.FORCED, filter=0, interval=0.05)
    blocks = {0xF3: bytes([8, 0x55, 0, 0]) + EXAMPLE_DATA}
    driver = Bosch280(Scripted(lambda register, _: blocks[register]), Rig().clock, wanted)
    with pytest.raises(NotReady, match="still converts after 5 polls"):
        driver.sample()


def believable(register: int, length: int) -> bytes:
    """The answers of a BMP280 with default settings and the data sheet's example."""
    return {
        0xD0: b"\x58",
        0xF3: bytes([0, 0x57, 0x88, 0]) + EXAMPLE_DATA,
        0x88: EXAMPLE_CALIBRATION,
    }[register][:length]


@settings(max_examples=examples(200), deadline=None)
@given(data=st.data())
def test_any_bytes_give_measurements_or_a_sensor_error(data: st.DataObject) -> None:
    driver = Bosch280(
        Scripted(lambda _, length: data.draw(st.binary(min_size=length, max_size=length))),
        Rig().clock,
    )
    with contextlib.suppress(SensorError):
        driver.start()
        driver.sample()


@pytest.mark.slow
def test_one_answer_that_was_broken_gives_possible_values_or_a_sensor_error() -> None:
    """Valid answers, one of which is overwritten, so that each stage of the driver is reached."""

    def run(ways: Counter[str]) -> None:
        @settings(QUICK, max_examples=200)
        @given(register=st.sampled_from([0xD0, 0xF3, 0x88]), data=st.data())
        def broken(register: int, data: st.DataObject) -> None:
            def answer(requested: int, length: int) -> bytes:
                good = bytearray(believable(requested, length))
                if requested == register:
                    good[data.draw(st.integers(0, length - 1))] = data.draw(st.integers(0, 255))
                return bytes(good)

            driver = Bosch280(Scripted(answer), Rig().clock)
            try:
                driver.start()
                sample = driver.sample()
            except SensorError as error:
                ways[error.kind] += 1
                return
            ways["sample"] += 1
            values = by_key(sample)
            assert -40 <= values["temperature"] <= 85
            assert 30_000 <= values.get("pressure", 30_000) <= 110_000

        broken()

    at_least({"sample": 20, "settings": 10, "identity": 10, "calibration": 10}, run)
