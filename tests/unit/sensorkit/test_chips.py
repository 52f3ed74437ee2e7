"""TCS3472, LSM303D and ADS1015: planted values, transfers, and what is no value."""

from __future__ import annotations

import math

import pytest
from chipmodels.ads1015 import Ads1015Model
from chipmodels.lsm303d import Attitude, Lsm303dModel
from chipmodels.tcs3472 import Light, Tcs3472Model
from hypothesis import given, settings
from hypothesis import strategies as st
from sensorkit.drivers.ads1015 import Ads1015, Ads1015Settings
from sensorkit.drivers.lsm303d import Lsm303d, Lsm303dSettings, heading
from sensorkit.drivers.tcs3472 import (
    Counts,
    Tcs3472,
    Tcs3472Settings,
    color_temperature,
    illuminance,
)
from sensorkit.errors import InvalidReading, LostSettings, NotReady, SensorError, WrongChip

from tests.unit.sensorkit.rig import Rig
from tests.unit.sensorkit.test_bosch import Scripted, by_key


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

    def test_a_sample_is_two_transfers(self) -> None:
        rig = Rig()
        lsm(rig, Attitude()).sample()
        assert len(rig.adapter.log) == 2

    def test_the_hard_iron_offset_is_taken_off(self) -> None:
        settings = Lsm303dSettings(field_offset=(10e-6, 0, 0))
        values = by_key(lsm(Rig(), Attitude(field=(0.25, 0, -0.4)), settings).sample())
        assert values["magnetic_flux_density_x"] == pytest.approx(15e-6, abs=1e-8)

    def test_full_scale_is_no_value(self) -> None:
        driver = lsm(Rig(), Attitude(acceleration=(0, 0, 2.5)))
        with pytest.raises(InvalidReading, match="full scale"):
            driver.sample()

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


@settings(max_examples=150, deadline=None)
@given(data=st.data(), chip=st.sampled_from([Tcs3472, Lsm303d]))
def test_any_bytes_give_measurements_or_a_sensor_error(
    data: st.DataObject, chip: type[Tcs3472 | Lsm303d]
) -> None:
    registers = Scripted(lambda _, n: data.draw(st.binary(min_size=n, max_size=n)))
    driver = chip(registers, Rig().clock)
    try:
        driver.sample()
    except SensorError:
        return
