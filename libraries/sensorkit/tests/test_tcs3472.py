"""TCS3472: planted light, transfers, and refused values."""

from __future__ import annotations

import math

import pytest
from chipmodels.tcs3472 import Light, Tcs3472Model
from hypothesis import given
from hypothesis import strategies as st
from sensor_rig import Rig, by_key
from sensorkit.drivers.tcs3472 import (
    Counts,
    Tcs3472,
    Tcs3472Settings,
    color_temperature,
    illuminance,
)
from sensorkit.errors import InvalidReading, LostSettings, NotReady, WrongChip


def tcs(rig: Rig, light: Light, settings: Tcs3472Settings | None = None) -> Tcs3472:
    rig.chips[0x29] = Tcs3472Model(rig.clock, light=light)
    return rig.started(Tcs3472(rig.smbus(0x29), rig.clock, settings))


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


@pytest.mark.parametrize(
    ("milliseconds", "atime"), [(2.4, 0xFF), (24, 0xF6), (153.6, 0xC0), (614.4, 0x00)]
)
def test_integration_times_by_the_data_sheets_table(milliseconds: float, atime: int) -> None:
    """TCS3472, "RGBC timing register"; 2.4 ms a cycle."""
    rig = Rig()
    rig.chips[0x29] = Tcs3472Model(rig.clock)
    Tcs3472(rig.smbus(0x29), rig.clock, Tcs3472Settings(milliseconds)).start()
    assert rig.smbus(0x29).read(0xA1, 1) == bytes([atime])
