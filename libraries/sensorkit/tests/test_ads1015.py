"""ADS1015 and ADS1115: planted voltages, transfers, and refused values."""

from __future__ import annotations

import pytest
from chipmodels.ads1015 import Ads1015Model, Ads1115Model
from sensor_rig import Rig, by_key
from sensorkit.drivers.ads1015 import Ads1015, Ads1015Settings, Chip
from sensorkit.errors import InvalidReading, NotReady, WrongChip
from sensorkit.supervise import Supervised


def ads(rig: Rig, model: Ads1015Model, settings: Ads1015Settings | None = None) -> Ads1015:
    rig.chips[0x49] = model
    return rig.started(Ads1015(rig.smbus(0x49), rig.clock, settings))


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
