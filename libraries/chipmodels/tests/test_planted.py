"""Chips by name with planted values, and the command that fills i2c-stub."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from chipmodels import stub
from chipmodels.bosch import Air, BoschModel
from chipmodels.clock import VirtualClock
from chipmodels.planted import KINDS, planted
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
