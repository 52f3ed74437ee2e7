"""LSM303D: planted attitudes, transfers, and refused values."""

from __future__ import annotations

import math

import pytest
from chipmodels.lsm303d import Attitude, Lsm303dModel
from hypothesis import given
from hypothesis import strategies as st
from sensor_rig import Rig, by_key
from sensorkit.drivers.lsm303d import Lsm303d, Lsm303dSettings, heading
from sensorkit.errors import InvalidReading, LostSettings, NotReady, WrongChip


def lsm(rig: Rig, attitude: Attitude, settings: Lsm303dSettings | None = None) -> Lsm303d:
    rig.chips[0x1D] = Lsm303dModel(rig.clock, attitude=attitude)
    return rig.started(Lsm303d(rig.smbus(0x1D), rig.clock, settings))


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
