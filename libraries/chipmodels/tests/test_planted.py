"""Chips by name with planted values, and the command that fills i2c-stub."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from chipmodels import stub
from chipmodels.ads1015 import Ads1015Model, Ads1115Model
from chipmodels.bosch import Air, BoschModel, RawSample, Variant
from chipmodels.clock import VirtualClock
from chipmodels.dump import Dump
from chipmodels.lsm303d import Attitude, Lsm303dModel
from chipmodels.planted import KINDS, planted
from chipmodels.tcs3472 import Light, Tcs3472Model
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_made_with_and_without_values(kind: str) -> None:
    name = KINDS[kind].names[0]
    assert type(planted(kind, VirtualClock())) is type(planted(f"{kind},{name}=1", VirtualClock()))


def test_air_is_planted() -> None:
    model = planted("bmp280,temperature_celsius=21.5,pressure_pascals=98765", VirtualClock())
    assert isinstance(model, BoschModel)
    assert model.source == Air(21.5, 98765.0)
    wet = planted("bme280,humidity_percent=10", VirtualClock())
    assert isinstance(wet, BoschModel)
    assert (wet.variant, wet.source) == (Variant.BME280, Air(humidity_percent=10))
    example = planted("bmp280", VirtualClock())
    assert isinstance(example, BoschModel)
    assert (example.variant, example.source) == (Variant.BMP280, RawSample())


def test_light_is_planted() -> None:
    model = planted("tcs3472,clear=1,red=2,green=3,blue=4", VirtualClock())
    assert isinstance(model, Tcs3472Model)
    assert model.light == Light(1, 2, 3, 4)


def test_an_attitude_is_planted() -> None:
    text = "lsm303d,x=1,y=2,z=3,field_x=4,field_y=5,field_z=6,temperature_celsius=7"
    model = planted(text, VirtualClock())
    assert isinstance(model, Lsm303dModel)
    assert model.attitude == Attitude((1, 2, 3), (4, 5, 6), 7)
    default = planted("lsm303d", VirtualClock())
    assert isinstance(default, Lsm303dModel)
    assert default.attitude == Attitude((0, 0, 1), (0.25, 0, -0.4), 25)


@pytest.mark.parametrize(("name", "kind"), [("ads1015", Ads1015Model), ("ads1115", Ads1115Model)])
def test_voltages_are_planted(name: str, kind: type[Ads1015Model]) -> None:
    model = planted(f"{name},in3=4,in0=1,in1=2", VirtualClock())
    assert type(model) is kind
    assert model.volts == (1, 2, 0, 4)


def test_bosch_chips_alone_have_spi() -> None:
    assert {name for name, kind in KINDS.items() if kind.spi} == {"bmp280", "bme280"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("bmp180", "there is no model 'bmp180'; the models are bmp280"),
        ("ads1015,in4=1", "'in4=1' is not one of in0=NUMBER"),
        ("ads1015,in0=high", "'high' is not a number"),
    ],
)
def test_what_cannot_be_read_is_named(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        planted(text, VirtualClock())


@given(st.text(max_size=20), st.sampled_from([*KINDS, ""]))
def test_any_text_is_a_model_or_an_error(text: str, kind: str) -> None:
    with contextlib.suppress(ValueError):
        planted(kind + text, VirtualClock())


class TestFillingTheStub:
    @pytest.fixture
    def filled(self, monkeypatch: pytest.MonkeyPatch) -> dict[int, dict[int, int]]:
        cells: dict[int, dict[int, int]] = {}

        class Device:
            def __init__(self, path: str) -> None:
                if path != "/dev/i2c-0":
                    raise OSError(2, "No such file or directory")

            def __enter__(self) -> Device:
                return self

            def __exit__(self, *_: object) -> None:
                pass

            def write_byte_data(self, address: int, register: int, value: int) -> None:
                cells.setdefault(address, {})[register] = value

            write_word_data = write_byte_data

        monkeypatch.setattr(stub, "SmbusDevice", Device)
        return cells

    def test_models_have_measured_and_dumps_are_as_they_are(
        self, filled: dict[int, dict[int, int]], tmp_path: Path
    ) -> None:
        dump = tmp_path / "board.dump"
        dump.write_text("10: " + " ".join(["ab"] * 16) + "\n")
        words = ["0x77=bmp280", "0x49=ads1015,in0=1.024", "0x29=tcs3472", "0x1d=lsm303d"]
        assert stub.main(["/dev/i2c-0", *words, f"0x50={dump}"]) == 0
        data = [filled[0x77][register] for register in range(0xF7, 0xFD)]
        assert bytes(data) == bytes.fromhex("655ac07eed00")  # the data sheet's example
        assert filled[0x50] == {0x10 + i: 0xAB for i in range(16)}
        assert filled[0x49][0] == 0x0020  # 512 counts of 2 mV, shifted by four, bytes swapped
        assert filled[0x29][0x93] == filled[0x29][0xB3] == 0x11

    def test_all_that_is_wrong_is_told_at_once(
        self, filled: dict[int, dict[int, int]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        dump = tmp_path / "bad.dump"
        dump.write_text("10: ab\n")
        assert stub.main(["/dev/i2c-0", "0x77=bmp180", "bmp280", f"0x50={dump}"]) == 2
        stderr = capsys.readouterr().err
        assert "no model 'bmp180'" in stderr
        assert "'bmp280' is not 0xAA=CHIP" in stderr
        assert f"{dump}:1: 1 values where a row has 16" in stderr
        assert not filled

    def test_a_bus_that_is_not_there_and_no_words(
        self, filled: dict[int, dict[int, int]], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert stub.main(["/dev/i2c-9", "0x77=bmp280"]) == 1
        assert "is i2c-stub loaded with these chips?" in capsys.readouterr().err
        assert stub.main([]) == 2
        assert capsys.readouterr().err == "usage: chipmodels.stub BUS 0xAA=CHIP|FILE...\n"


def test_the_stub_has_each_register_at_each_form_of_its_command() -> None:
    clock = VirtualClock()
    bosch = stub.bosch_contents(BoschModel(clock))
    assert (set(bosch.values), bosch.words) == (set(range(0x88, 0x100)), False)
    light = stub.tcs3472_contents(Tcs3472Model(clock))
    assert (set(light.values), light.words) == (set(range(0x80, 0xC0)), False)
    attitude = stub.lsm303d_contents(Lsm303dModel(clock))
    registers = {*range(0x40), *range(0x80, 0xC0)}
    assert (set(attitude.values), attitude.words) == (registers, False)
    volts = stub.ads1015_contents(Ads1015Model(clock))
    assert volts == Dump({0: 0, 1: 0x8385, 2: 0x0080, 3: 0xFF7F}, True)
    assert stub.stub_parameters({0x77: bosch, 0x09: volts}) == {"chip_addr": "0x09,0x77"}


@pytest.mark.parametrize(
    ("chip", "registers"),
    [
        # humidity x1; temperature x2, pressure x16, normal mode
        ("bme280", {0xF2: 0x01, 0xF4: 0x57, 0xFD: 0x75, 0xFE: 0x30}),
        # 64 cycles, gain 4, power and converter on; 2 counts a millisecond * 153.6 * 4
        ("tcs3472", {0x80: 0x03, 0x81: 0xC0, 0x8F: 0x01, 0xB3: 0x11, 0xB4: 0xCD, 0xB5: 0x04}),
        # 50 Hz, 2 g, CTRL5 0x70, 2 gauss, awake; 1 g / 0.061 mg, 0.25 gauss / 0.080 mgauss
        (
            "lsm303d",
            {0xA0: 0x57, 0xA4: 0x70, 0xA5: 0, 0xA6: 0, 0xAC: 0x09, 0x2D: 0x40, 0x08: 0x35},
        ),
        # AIN0 at 4.096 V: 1.024 V are 512 counts of 2 mV
        ("ads1015,in0=1.024", {0: 0x0020, 1: 0x83C3}),
    ],
)
def test_what_is_filled_in_has_been_measured_as_drivers_do(
    chip: str, registers: dict[int, int]
) -> None:
    address, dump = stub.contents_of(f"0x48={chip}")
    assert address == 0x48
    assert {register: dump.values[register] for register in registers} == registers


@pytest.mark.parametrize(("text", "known"), [("0x02", 0), ("0x03", 1), ("0x77", 1), ("0x78", 0)])
def test_addresses_of_chips_are_those_that_i2c_leaves_to_them(text: str, known: int) -> None:
    """I2C specification section 3.1.12 reserves the others."""
    if known:
        assert stub.contents_of(f"{text}=bmp280")[0] == int(text, 16)
    else:
        with pytest.raises(ValueError, match="is not 0xAA=CHIP or 0xAA=FILE"):
            stub.contents_of(f"{text}=bmp280")
