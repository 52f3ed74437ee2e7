"""TCS3472, LSM303D and ADS1015: planted values, transfers, and refused values."""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Callable

import pytest
from chipmodels.ads1015 import Ads1015Model, Ads1115Model
from chipmodels.lsm303d import Attitude, Lsm303dModel
from chipmodels.target import I2cTarget
from chipmodels.tcs3472 import Light, Tcs3472Model
from hypothesis import given, settings
from hypothesis import strategies as st
from sensor_rig import Rig
from sensorkit import measurement
from sensorkit.drivers.ads1015 import Ads1015, Ads1015Settings, Chip
from sensorkit.drivers.driver import Driver
from sensorkit.drivers.lsm303d import Lsm303d, Lsm303dSettings, heading
from sensorkit.drivers.tcs3472 import (
    Counts,
    Tcs3472,
    Tcs3472Settings,
    color_temperature,
    illuminance,
)
from sensorkit.errors import InvalidReading, LostSettings, NotReady, SensorError, WrongChip
from sensorkit.supervise import Supervised
from test_bosch import Scripted, by_key

from tests.branches import QUICK, at_least


def tcs(rig: Rig, light: Light, settings: Tcs3472Settings | None = None) -> Tcs3472:
    rig.chips[0x29] = Tcs3472Model(rig.clock, light=light)
    driver = Tcs3472(rig.smbus(0x29), rig.clock, settings)
    driver.start()
    rig.adapter.log.clear()
    return driver


def lsm(rig: Rig, attitude: Attitude, settings: Lsm303dSettings | None = None) -> Lsm303d:
    rig.chips[0x1D] = Lsm303dModel(rig.clock, attitude=attitude)
    driver = Lsm303d(rig.smbus(0x1D), rig.clock, settings)
    driver.start()
    rig.adapter.log.clear()
    return driver


def ads(rig: Rig, model: Ads1015Model, settings: Ads1015Settings | None = None) -> Ads1015:
    rig.chips[0x49] = model
    driver = Ads1015(rig.smbus(0x49), rig.clock, settings)
    driver.start()
    rig.adapter.log.clear()
    return driver


class TestTcs3472:
    def test_formulas_of_dn40_by_hand(self) -> None:
        # IR = (1000+700+500-2000)/2 = 100; R' G' B' = 900 600 400; CPL = 153.6*4/310.
        counts = Counts(2000, 1000, 700, 500)
        lux = (0.136 * 900 + 600 - 0.444 * 400) / (153.6 * 4 / 310)
        assert illuminance(counts, Tcs3472Settings()) == pytest.approx(lux, rel=1e-12)
        assert color_temperature(counts) == pytest.approx(3810 * 400 / 900 + 1391, rel=1e-12)

    def test_a_sample_is_one_transfer(self) -> None:
        rig = Rig()
        tcs(rig, Light()).sample()
        assert len(rig.adapter.log) == 1

    def test_gain_and_time_do_not_change_the_lux(self) -> None:
        lux = [
            by_key(tcs(Rig(), Light(), Tcs3472Settings(ms, gain)).sample())["illuminance"]
            for ms, gain in [(153.6, 4), (614.4, 1), (50.4, 16)]
        ]
        assert lux == pytest.approx([lux[0]] * 3, rel=0.02)

    def test_saturation_is_no_value(self) -> None:
        driver = tcs(Rig(), Light(clear=5000))
        with pytest.raises(InvalidReading, match="saturates"):
            driver.sample()

    def test_ripple_saturation_counts_below_150_ms(self) -> None:
        driver = tcs(Rig(), Light(clear=6.0), Tcs3472Settings(50.4, 60))
        assert 0.75 < 6.0 * 50.4 * 60 / (1024 * 21) < 1
        with pytest.raises(InvalidReading, match="saturates the sensor at 16128"):
            driver.sample()

    def test_darkness_is_zero_lux_without_a_colour(self) -> None:
        values = by_key(tcs(Rig(), Light(0, 0, 0, 0)).sample())
        assert values == {"illuminance": 0.0}

    def test_a_reset_does_not_pass_for_darkness(self) -> None:
        rig = Rig()
        driver = tcs(rig, Light())
        rig.chips[0x29].power_cycle()  # type: ignore[attr-defined]
        with pytest.raises(LostSettings):
            driver.sample()

    def test_another_chip_is_refused(self) -> None:
        rig = Rig()
        rig.chips[0x29] = Tcs3472Model(rig.clock, identity=0x12)
        with pytest.raises(WrongChip):
            Tcs3472(rig.smbus(0x29), rig.clock).start()

    @pytest.mark.parametrize(
        ("identity", "message"),
        [
            (0x50, "id 0x50 is a TSL2591, not a TCS3472 (0x44 or 0x4d)"),
            (0x93, "id 0x93 is a TCS34003 or TCS34007, not a TCS3472 (0x44 or 0x4d)"),
            (0x12, "id 0x12 is no TCS3472 (0x44 or 0x4d)"),
        ],
    )
    def test_a_relative_is_named(self, identity: int, message: str) -> None:
        rig = Rig()
        rig.chips[0x29] = Tcs3472Model(rig.clock, identity=identity)
        with pytest.raises(WrongChip) as caught:
            Tcs3472(rig.smbus(0x29), rig.clock).start()
        assert str(caught.value) == message

    def test_reserved_bits_are_no_lost_settings(self) -> None:
        """Data sheet, "Status register": AINT is bit 4, AVALID bit 0, the rest is reserved."""

        class Reserved(Tcs3472Model):
            def reg_read(self, register: int) -> int:
                reserved = {0x00: 0xE4, 0x0F: 0xFC, 0x13: 0xEE}.get(register, 0)
                return super().reg_read(register) | reserved

        rig = Rig()
        rig.chips[0x29] = Reserved(rig.clock)
        driver = Tcs3472(rig.smbus(0x29), rig.clock)
        driver.start()
        assert "illuminance" in by_key(driver.sample())

    def test_light_that_would_be_negative_is_no_darkness(self) -> None:
        """By hand: IR = (5 + 4 + 90 - 10) / 2 = 44.5, 0.136 R' + G' - 0.444 B' = -66.1 counts."""
        driver = tcs(Rig(), Light(clear=0.016, red=0.008, green=0.0065, blue=0.147))
        values = by_key(driver.sample())
        assert "illuminance" not in values
        assert "color_blue" in values

    def test_a_count_of_noise_in_the_dark_is_darkness(self) -> None:
        values = by_key(tcs(Rig(), Light(clear=0, red=0, green=0, blue=0.0017)).sample())
        assert (values["illuminance"], values["color_blue"]) == (0.0, 1.0)

    @pytest.mark.parametrize(("blue", "lux"), [(0, 0.0), (1, 0.0), (2, 0.0), (3, None)])
    def test_two_counts_below_nothing_are_noise(self, blue: int, lux: float | None) -> None:
        """Half of the blue counts are infrared, so the sum is -0.79 of them: -1.58 and -2.37."""
        driver = tcs(Rig(), Light())
        if lux is not None:
            assert driver._lux(Counts(0, 0, 0, blue)) == lux
        else:
            with pytest.raises(InvalidReading, match="nearly all infrared"):
                driver._lux(Counts(0, 0, 0, blue))

    def test_the_identity_is_one_byte(self) -> None:
        rig = Rig()
        rig.chips[0x29] = Tcs3472Model(rig.clock)
        Tcs3472(rig.smbus(0x29), rig.clock).start()
        command, answer = rig.adapter.log[0].messages
        assert (command.data, answer.length) == (b"\xb2", 1)

    def test_no_light_before_the_first_cycle_has_finished(self) -> None:
        """AVALID is 0 until then ("Status register"): what the data registers hold is not new."""

        class Never(Tcs3472Model):
            def reg_read(self, register: int) -> int:
                return 0 if register == 0x13 else super().reg_read(register)

        rig = Rig()
        rig.chips[0x29] = Never(rig.clock)
        driver = Tcs3472(rig.smbus(0x29), rig.clock)
        driver.start()
        with pytest.raises(NotReady):
            driver.sample()

    @given(counts=st.builds(Counts, *[st.integers(0, 65535)] * 4))
    def test_lux_is_never_negative_or_infinite(self, counts: Counts) -> None:
        assert 0 <= illuminance(counts, Tcs3472Settings()) < math.inf
        kelvins = color_temperature(counts)
        assert kelvins is None or 1391 <= kelvins <= 40_000


class TestLsm303d:
    def test_planted_attitude_is_measured(self) -> None:
        attitude = Attitude((0.1, -0.2, 0.97), (0.2, -0.1, -0.4))
        values = by_key(lsm(Rig(), attitude).sample())
        for axis, g, gauss in zip("xyz", attitude.acceleration, attitude.field, strict=True):
            assert values[f"acceleration_{axis}"] == pytest.approx(g * 9.80665, abs=1e-3)
            field = values[f"magnetic_flux_density_{axis}"]
            assert field == pytest.approx(gauss * 1e-4, abs=1e-8)

    @pytest.mark.parametrize("full_scale", [2, 4, 6, 8, 16])
    def test_each_full_scale(self, full_scale: int) -> None:
        settings = Lsm303dSettings(acceleration_scale=full_scale, field_scale=8)
        values = by_key(lsm(Rig(), Attitude(), settings).sample())
        assert values["acceleration_z"] == pytest.approx(9.80665, abs=0.01)

    @pytest.mark.parametrize("full_scale", [2, 4, 8, 12])
    def test_each_full_scale_of_the_field(self, full_scale: int) -> None:
        settings = Lsm303dSettings(field_scale=full_scale)
        values = by_key(lsm(Rig(), Attitude(field=(0.5, -0.5, 0.25)), settings).sample())
        found = [values[f"magnetic_flux_density_{axis}"] for axis in "xyz"]
        assert found == pytest.approx([50e-6, -50e-6, 25e-6], abs=5e-8)

    def test_a_sample_is_two_transfers(self) -> None:
        rig = Rig()
        lsm(rig, Attitude()).sample()
        assert len(rig.adapter.log) == 2

    def test_the_hard_iron_offset_is_taken_off(self) -> None:
        settings = Lsm303dSettings(field_offset=(10e-6, 0, 0))
        values = by_key(lsm(Rig(), Attitude(field=(0.25, 0, -0.4)), settings).sample())
        assert values["magnetic_flux_density_x"] == pytest.approx(15e-6, abs=1e-8)

    def test_an_axis_beyond_the_scale_is_left_out_with_the_heading_and_nothing_else(self) -> None:
        values = by_key(lsm(Rig(), Attitude(acceleration=(0.5, 0, 2.5))).sample())
        assert set(values) == {
            *("acceleration_x", "acceleration_y"),
            *(f"magnetic_flux_density_{axis}" for axis in "xyz"),
        }

    @pytest.mark.parametrize(
        ("field", "left"), [((2.1, 0.0, 0.1), "yz"), ((0.0, -2.7, 0.1), "xz"), ((2.0, 0, 0), "xyz")]
    )
    def test_a_field_beyond_the_scale_is_left_out_although_the_counts_go_on(
        self, field: tuple[float, float, float], left: str
    ) -> None:
        """Section 2.1: 2 gauss at 0.080 mgauss a count; 16 bits would reach 2.62."""
        values = by_key(lsm(Rig(), Attitude(field=field)).sample())
        assert {k for k in values if k.startswith("magnetic")} == {
            f"magnetic_flux_density_{axis}" for axis in left
        }

    def test_everything_beyond_the_scale_is_an_error(self) -> None:
        driver = lsm(Rig(), Attitude((3.0, -3.0, 3.0), (9.0, 9.0, -9.0)))
        with pytest.raises(InvalidReading, match="acceleration_x is beyond the full scale of 2"):
            driver.sample()

    def test_the_offset_does_not_count_against_the_scale(self) -> None:
        settings = Lsm303dSettings(field_offset=(-150e-6, 0, 0))
        values = by_key(lsm(Rig(), Attitude(field=(1.9, 0, -0.4)), settings).sample())
        assert values["magnetic_flux_density_x"] == pytest.approx(340e-6, abs=1e-8)

    def test_the_same_conversion_is_not_measured_twice(self) -> None:
        """50 a second (CTRL1, CTRL5): what was read before is old until the next one."""
        rig = Rig()
        driver = lsm(rig, Attitude())
        first = driver.sample()
        second = driver.sample()
        assert second[0].time - first[0].time == pytest.approx(0.02, abs=1e-6)

    @pytest.mark.parametrize(
        ("asleep", "message"), [(b"\x20\x0f", "control"), (b"\x26\x03", "control")]
    )
    def test_a_half_that_stopped_gives_no_old_values(self, asleep: bytes, message: str) -> None:
        rig = Rig()
        driver = lsm(rig, Attitude())
        driver.sample()
        rig.chips[0x1D].i2c_write(asleep)
        with pytest.raises((LostSettings, NotReady)):
            driver.sample()

    @pytest.mark.parametrize("register", [0x07, 0x27])
    def test_data_that_the_status_calls_old_are_not_taken(self, register: int) -> None:
        """Bit 3 of STATUS_M and STATUS_A: new data on all three axes."""

        class Stuck(Lsm303dModel):
            def reg_read(self, requested: int) -> int:
                value = super().reg_read(requested)
                return value & 0xF7 if requested == register else value

        rig = Rig()
        rig.chips[0x1D] = Stuck(rig.clock)
        driver = Lsm303d(rig.smbus(0x1D), rig.clock)
        driver.start()
        with pytest.raises(NotReady):
            driver.sample()

    def test_a_queue_that_another_program_left_on_is_switched_off(self) -> None:
        """CTRL0 (0x1F) bit 6, FIFO_EN: the data registers would give samples of long ago."""
        rig = Rig()
        rig.chips[0x1D] = Lsm303dModel(rig.clock)
        rig.chips[0x1D].i2c_write(b"\x1f\x40")
        Lsm303d(rig.smbus(0x1D), rig.clock).start()
        rig.chips[0x1D].i2c_write(b"\x1f")
        assert rig.chips[0x1D].i2c_read(1) == b"\x00"

    def test_a_queue_that_is_switched_on_meanwhile_gives_no_old_values(self) -> None:
        rig = Rig()
        driver = lsm(rig, Attitude())
        rig.chips[0x1D].i2c_write(b"\x1f\x40")
        with pytest.raises(LostSettings):
            driver.sample()

    def test_an_overrun_is_no_fault(self) -> None:
        rig = Rig()
        driver = lsm(rig, Attitude())
        rig.clock.sleep(10)
        assert "heading" in by_key(driver.sample())

    @pytest.mark.parametrize(
        ("identity", "message"),
        [
            (0x3D, "WHO_AM_I 0x3d is a LIS3MDL or LSM9DS1, not an LSM303D (0x49)"),
            (0x00, "WHO_AM_I 0x00 is no LSM303D (0x49)"),
        ],
    )
    def test_a_relative_is_named(self, identity: int, message: str) -> None:
        class Relative(Lsm303dModel):
            def reg_read(self, register: int) -> int:
                return identity if register == 0x0F else super().reg_read(register)

        rig = Rig()
        rig.chips[0x1D] = Relative(rig.clock)
        with pytest.raises(WrongChip) as caught:
            Lsm303d(rig.smbus(0x1D), rig.clock).start()
        assert str(caught.value) == message

    def test_a_reset_is_noticed(self) -> None:
        rig = Rig()
        driver = lsm(rig, Attitude())
        rig.chips[0x1D].power_cycle()  # type: ignore[attr-defined]
        with pytest.raises((LostSettings, NotReady)):
            driver.sample()

    @given(
        bearing=st.floats(0, 359.9),
        pitch=st.floats(-60, 60),
        roll=st.floats(-60, 60),
    )
    def test_heading_does_not_depend_on_tilt(
        self, bearing: float, pitch: float, roll: float
    ) -> None:
        """The world's gravity and field, turned into the chip's axes by a rotation matrix."""
        b, p, r = (math.radians(a) for a in (bearing, pitch, roll))
        flat = (0.2 * math.cos(b), 0.2 * math.sin(b), 0.4)
        level = _tilted((0.0, 0.0, 1.0), p, r)
        measured = heading(level, _tilted(flat, p, r))
        assert measured is not None
        assert abs((measured - bearing + 180) % 360 - 180) < 0.01

    def test_free_fall_has_no_heading(self) -> None:
        assert heading((0.0, 0.0, 0.1), (1.0, 0.0, 0.0)) is None


def _tilted(v: tuple[float, float, float], pitch: float, roll: float) -> tuple[float, float, float]:
    """`v` as axes see it that were pitched (about y) and then rolled (about x)."""
    x, y, z = v
    x, z = x * math.cos(pitch) - z * math.sin(pitch), x * math.sin(pitch) + z * math.cos(pitch)
    y, z = y * math.cos(roll) + z * math.sin(roll), -y * math.sin(roll) + z * math.cos(roll)
    return (x, y, z)


class TestAds1015:
    def test_planted_voltages_are_measured(self) -> None:
        model = Ads1015Model(rig_clock := Rig().clock, volts=(0.5, -0.1, 2.0, 3.3))
        values = by_key(ads(Rig(clock=rig_clock), model).sample())
        assert values == pytest.approx(
            {"voltage_0": 0.5, "voltage_1": -0.1, "voltage_2": 2.0, "voltage_3": 3.3}, abs=0.001
        )

    def test_an_input_is_four_transfers(self) -> None:
        rig = Rig()
        ads(rig, Ads1015Model(rig.clock)).sample()
        assert len(rig.adapter.log) == 16

    def test_an_input_beyond_the_scale_is_left_out(self) -> None:
        rig = Rig()
        values = by_key(ads(rig, Ads1015Model(rig.clock, volts=(5.0, 1.0, 1.0, 1.0))).sample())
        assert set(values) == {"voltage_1", "voltage_2", "voltage_3"}

    def test_all_inputs_beyond_the_scale_are_an_error(self) -> None:
        rig = Rig()
        driver = ads(rig, Ads1015Model(rig.clock, volts=(5.0, 5.0, 5.0, 5.0)))
        with pytest.raises(InvalidReading):
            driver.sample()

    def test_a_slow_chip_is_waited_for(self) -> None:
        rig = Rig()
        driver = ads(rig, Ads1015Model(rig.clock, volts=(1.0, 2.0, 1.0, 2.0), slow=2.5))
        assert by_key(driver.sample())["voltage_1"] == pytest.approx(2.0, abs=0.002)

    def test_a_chip_that_never_finishes_is_reported(self) -> None:
        rig = Rig()
        driver = ads(rig, Ads1015Model(rig.clock, slow=100.0))
        with pytest.raises(NotReady):
            driver.sample()

    def test_dividers_scale_the_voltage(self) -> None:
        rig = Rig()
        settings = Ads1015Settings(dividers=(2.0, 1.0, 1.0, 1.0))
        model = Ads1015Model(rig.clock, volts=(2.5, 0.0, 0.0, 0.0))
        assert by_key(ads(rig, model, settings).sample())["voltage_0"] == pytest.approx(5.0)

    def test_limits_are_those_of_the_pin(self) -> None:
        """A battery behind 10k and 1k: 1.1 V at the pin stand for 12.1 V, 1.2 V * -1000 too."""
        rig = Rig()
        settings = Ads1015Settings(dividers=(11.0, -1000.0, 1.0, 0.1))
        model = Ads1015Model(rig.clock, volts=(1.1, 1.2, 0.5, 5.0))
        assert by_key(ads(rig, model, settings).sample()) == {
            "voltage_0": pytest.approx(12.1),
            "voltage_1": pytest.approx(-1200.0),
            "voltage_2": pytest.approx(0.5),
        }

    def test_a_jump_is_one_at_the_pin(self) -> None:
        """0.05 V are confirmed; 0.04 V behind a divider by 11 are 0.44 V and no jump."""
        rig = Rig()
        model = Ads1015Model(rig.clock, volts=(1.0, 0.0, 0.0, 0.0))
        settings = Ads1015Settings(inputs=(0,), dividers=(11.0, 1.0, 1.0, 1.0))
        chip = Supervised("ads", ads(rig, model, settings), rig.clock, max_age=5)
        chip.poll()
        for volts, transfers in ((1.04, 4), (1.10, 8)):
            model.volts = (volts, 0.0, 0.0, 0.0)
            rig.adapter.log.clear()
            (measured,) = chip.poll()
            assert measured.value == pytest.approx(11 * volts, abs=0.02)
            assert len(rig.adapter.log) == transfers

    @pytest.mark.parametrize("volts", [1.2345, 0.0])
    def test_an_ads1115_in_its_place_is_named_with_the_option(self, volts: float) -> None:
        rig = Rig()
        rig.chips[0x49] = Ads1115Model(rig.clock, volts=(volts,) * 4)
        with pytest.raises(WrongChip) as caught:
            Ads1015(rig.smbus(0x49), rig.clock).start()
        assert str(caught.value) == (
            "by the time that a conversion takes this is an ADS1115; expected ADS1015: "
            "set chip to ads1115"
        )

    def test_an_ads1015_in_an_ads1115s_place_is_named(self) -> None:
        rig = Rig()
        rig.chips[0x49] = Ads1015Model(rig.clock)
        with pytest.raises(WrongChip, match="this is an ADS1015; expected ADS1115"):
            Ads1015(rig.smbus(0x49), rig.clock, Ads1015Settings(chip=Chip.ADS1115)).start()

    def test_a_result_of_16_bits_is_an_ads1115s(self) -> None:
        rig = Rig()
        driver = ads(rig, Ads1015Model(rig.clock))
        quick = type("Quick", (Ads1115Model,), {"rates": (3300,) * 8})
        rig.chips[0x49] = quick(rig.clock, volts=(1.2345,) * 4)
        # 1.2345 V * 32768 / 4.096 V = 9876 = 0x2694
        with pytest.raises(WrongChip, match="0x2694, which has 16 bits, this is an ADS1115"):
            driver.sample()

    def test_an_ads1115_has_sixteen_bits(self) -> None:
        """SBAS444E section 8.5.3 for 4.096 V: 125 microvolts a count."""
        rig = Rig()
        model = Ads1115Model(rig.clock, volts=(1.2345, -0.000125, 4.2, 4.0958))
        values = by_key(ads(rig, model, Ads1015Settings(chip=Chip.ADS1115)).sample())
        assert values == {
            "voltage_0": pytest.approx(1.2345, abs=1e-9),
            "voltage_1": pytest.approx(-0.000125, abs=1e-9),
            "voltage_3": pytest.approx(4.09575, abs=1e-4),
        }

    @pytest.mark.parametrize(
        ("chip", "code"), [(Chip.ADS1015, b"\x01\xc3\x83"), (Chip.ADS1115, b"\x01\xc3\xe3")]
    )
    def test_the_command_of_a_conversion(self, chip: Chip, code: bytes) -> None:
        """OS, AIN0, 4.096 V, single shot, 1600/s or 860/s, no comparator: section 8.6.3."""
        rig = Rig()
        model = {Chip.ADS1015: Ads1015Model, Chip.ADS1115: Ads1115Model}[chip](rig.clock)
        ads(rig, model, Ads1015Settings(inputs=(0,), chip=chip)).sample()
        assert rig.adapter.log[0].messages[0].data == code

    @pytest.mark.parametrize(
        ("settings", "config"),
        [
            (Ads1015Settings(6.144), 0xC183),
            (Ads1015Settings(2.048), 0xC583),
            (Ads1015Settings(1.024), 0xC783),
            (Ads1015Settings(0.512), 0xC983),
            (Ads1015Settings(0.256), 0xCB83),
            (Ads1015Settings(rate=128), 0xC303),
            (Ads1015Settings(rate=250), 0xC323),
            (Ads1015Settings(rate=490), 0xC343),
            (Ads1015Settings(rate=920), 0xC363),
            (Ads1015Settings(rate=2400), 0xC3A3),
            (Ads1015Settings(rate=3300), 0xC3C3),
            (Ads1015Settings(rate=8, chip=Chip.ADS1115), 0xC303),
            (Ads1015Settings(rate=16, chip=Chip.ADS1115), 0xC323),
            (Ads1015Settings(rate=32, chip=Chip.ADS1115), 0xC343),
            (Ads1015Settings(rate=64, chip=Chip.ADS1115), 0xC363),
            (Ads1015Settings(rate=128, chip=Chip.ADS1115), 0xC383),
            (Ads1015Settings(rate=250, chip=Chip.ADS1115), 0xC3A3),
            (Ads1015Settings(rate=475, chip=Chip.ADS1115), 0xC3C3),
        ],
    )
    def test_full_scales_and_rates_by_the_data_sheets_tables(
        self, settings: Ads1015Settings, config: int
    ) -> None:
        """SBAS473E table 8, SBAS444E table 8: PGA is bits 11..9, DR bits 7..5."""
        rig = Rig()
        kind = {Chip.ADS1015: Ads1015Model, Chip.ADS1115: Ads1115Model}[settings.chip]
        ads(rig, kind(rig.clock, volts=(0.1, 0.1, 0.1, 0.1)), settings).sample()
        assert int.from_bytes(rig.adapter.log[0].messages[0].data[1:], "big") == config


@pytest.mark.parametrize(
    ("milliseconds", "atime"), [(2.4, 0xFF), (24, 0xF6), (153.6, 0xC0), (614.4, 0x00)]
)
def test_integration_times_by_the_data_sheets_table(milliseconds: float, atime: int) -> None:
    """TCS3472, "RGBC timing register"; 2.4 ms a cycle."""
    rig = Rig()
    rig.chips[0x29] = Tcs3472Model(rig.clock)
    Tcs3472(rig.smbus(0x29), rig.clock, Tcs3472Settings(milliseconds)).start()
    assert rig.smbus(0x29).read(0xA1, 1) == bytes([atime])


def waited(rig: Rig, driver: Driver) -> float:
    """The seconds until a driver gives up a chip whose conversions do not end."""
    before = rig.clock.monotonic()
    with pytest.raises(NotReady):
        driver.sample()
    return rig.clock.monotonic() - before


def test_a_chip_that_does_not_finish_is_asked_five_times_within_its_own_time() -> None:
    """Half an integration of 153.6 ms, a period of 50 Hz, a conversion of 1/1600 s."""

    class Dark(Tcs3472Model):
        def reg_read(self, register: int) -> int:
            return 0 if register == 0x13 else super().reg_read(register)

    class Stuck(Lsm303dModel):
        def reg_read(self, register: int) -> int:
            return 0 if register in (0x07, 0x27) else super().reg_read(register)

    rig = Rig()
    rig.chips |= {0x29: Dark(rig.clock), 0x1D: Stuck(rig.clock)}
    light, attitude = Tcs3472(rig.smbus(0x29), rig.clock), Lsm303d(rig.smbus(0x1D), rig.clock)
    light.start()
    attitude.start()
    assert waited(rig, light) == pytest.approx(5 * 0.0768)
    assert waited(rig, attitude) == pytest.approx(5 * 0.02)
    volts = ads(rig, Ads1015Model(rig.clock, slow=1000))
    # Section 7.5: rates vary by 10 %; the chip wakes in 50 microseconds.
    assert waited(rig, volts) == pytest.approx(1.1 / 1600 + 50e-6 + 5 / 1600)


def test_what_is_measured_and_in_which_units() -> None:
    """SI units; device classes and units of Home Assistant's sensor platform."""
    inf = math.inf
    table = {
        q.name: (q.metric, q.unit, q.low, q.high, q.digits, q.jump, *_shown(q.home_assistant))
        for q in (
            *(measurement.TEMPERATURE, measurement.PRESSURE, measurement.SEA_LEVEL_PRESSURE),
            *(measurement.ALTITUDE, measurement.HUMIDITY, measurement.ILLUMINANCE),
            *(measurement.COLOR_TEMPERATURE, measurement.COLOR, measurement.ACCELERATION),
            *(measurement.MAGNETIC_FIELD, measurement.HEADING, measurement.VOLTAGE),
        )
    }
    pressure = ("atmospheric_pressure", "hPa", 0.01, 2)
    assert table == {
        "temperature": ("temperature_celsius", "°C", -273.15, inf, 2, 1.0,
                        "temperature", "°C", 1.0, 2),
        "pressure": ("pressure_pascals", "Pa", 0, inf, 2, 100.0, *pressure),
        "sea_level_pressure": ("sea_level_pressure_pascals", "Pa", 80_000, 115_000, 2, None,
                               *pressure),
        "altitude": ("altitude_meters", "m", -inf, 44_330, 2, None, "distance", "m", 1.0, 2),
        "humidity": ("humidity_ratio", "1", 0, 1, 4, 0.05, "humidity", "%", 100.0, 2),
        "illuminance": ("illuminance_lux", "lx", 0, inf, 2, None, "illuminance", "lx", 1.0, 2),
        "color_temperature": ("color_temperature", "K", 0, inf, 0, None, None, "K", 1.0, 0),
        "color": ("color_ratio", "1", 0, 1, 4, None, None, "%", 100.0, 2),
        "acceleration": ("acceleration_meters_per_second_squared", "m/s²", -inf, inf, 4, None,
                         None, "m/s²", 1.0, 3),
        "magnetic_flux_density": ("magnetic_flux_density_teslas", "T", -inf, inf, 9, None,
                                  None, "µT", 1e6, 2),
        "heading": ("heading_degrees", "°", 0, 360, 1, None, None, "°", 1.0, 1),
        "voltage": ("voltage_volts", "V", -inf, inf, 4, 0.05, "voltage", "V", 1.0, 3),
    }  # fmt: skip


def _shown(form: measurement.HomeAssistantForm) -> tuple[object, ...]:
    return form.device_class, form.unit, form.factor, form.digits


Maker = tuple[int, Callable[[Rig], I2cTarget], Callable[[Rig], Driver]]
CHIPS: dict[str, Maker] = {
    "tcs3472": (
        0x29,
        lambda r: Tcs3472Model(r.clock),
        lambda r: Tcs3472(r.smbus(0x29), r.clock),
    ),
    "lsm303d": (
        0x1D,
        lambda r: Lsm303dModel(r.clock),
        lambda r: Lsm303d(r.smbus(0x1D), r.clock),
    ),
    "ads1015": (
        0x49,
        lambda r: Ads1015Model(r.clock, volts=(0.5, 1.0, 2.0, 3.3)),
        lambda r: Ads1015(r.smbus(0x49), r.clock),
    ),
}


class Broken:
    """A chip, one of whose answers has a byte overwritten."""

    def __init__(self, chip: I2cTarget, answer: int, at: int, byte: int) -> None:
        self.chip, self.answer, self.at, self.byte = chip, answer, at, byte

    def i2c_write(self, data: bytes) -> None:
        self.chip.i2c_write(data)

    def i2c_read(self, length: int) -> bytes:
        self.answer -= 1
        data = bytearray(self.chip.i2c_read(length))
        if self.answer == 0:
            data[self.at % length] = self.byte
        return bytes(data)


@pytest.mark.parametrize("name", CHIPS)
def test_one_answer_that_was_broken_gives_possible_values_or_a_sensor_error(name: str) -> None:
    address, make, make_driver = CHIPS[name]

    def run(ways: Counter[str]) -> None:
        @QUICK
        @given(st.integers(1, 5), st.integers(0, 39), st.integers(0, 255))
        def broken(answer: int, at: int, byte: int) -> None:
            rig = Rig()
            rig.chips[address] = Broken(make(rig), answer, at, byte)
            driver = make_driver(rig)
            try:
                driver.start()
                sample = driver.sample()
            except SensorError:
                ways["refused"] += 1
                return
            ways["sample"] += 1
            assert {m.channel for m in sample} <= set(driver.channels)
            assert all(abs(m.value) < 1e6 for m in sample)

        broken()

    at_least({"sample": 20, "refused": 10}, run)


@settings(max_examples=150, deadline=None)
@given(data=st.data(), chip=st.sampled_from([Tcs3472, Lsm303d]))
def test_any_bytes_give_measurements_or_a_sensor_error(
    data: st.DataObject, chip: type[Tcs3472 | Lsm303d]
) -> None:
    registers = Scripted(lambda _, n: data.draw(st.binary(min_size=n, max_size=n)))
    driver = chip(registers, Rig().clock)
    with contextlib.suppress(SensorError):
        driver.sample()
