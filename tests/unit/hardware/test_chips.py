"""The list of chips for a person who looks for a name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from piimage.boards import load_board
from piimage.config.models import Appliance
from piimage.hardware import chips
from piimage.hardware.chips import KnownChip, known_chips
from tests.unit.kernel.test_sensors import supply
from tests.unit.plan.locks import lock_of


def test_chips_are_sorted_and_those_of_1_wire_have_their_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @contextmanager
    def opened(*_: object) -> Iterator[object]:
        yield supply()

    monkeypatch.setattr(chips, "make", lambda *_: SimpleNamespace())
    monkeypatch.setattr(chips, "open_supply", opened)
    board = load_board("pi4")
    lock = lock_of(Appliance(board="pi4"), board)
    release, found = known_chips(board, lock, SimpleNamespace())  # type: ignore[arg-type]
    assert release == "6.12.1"
    assert list(found) == [
        KnownChip("bme280", "i2c", "bmp280_i2c"),
        KnownChip("bme280", "spi", "bmp280_spi"),
        KnownChip("bmp280", "i2c", "bmp280_i2c"),
        KnownChip("bmp580", "i2c", "bmp280_i2c"),
        KnownChip("ds18b20", "w1", "w1_therm"),
        KnownChip("lm75", "i2c", "lm75"),
        KnownChip("mcp3008", "spi", "mcp320x"),
        KnownChip("tmp75", "i2c", "lm75"),
    ]
