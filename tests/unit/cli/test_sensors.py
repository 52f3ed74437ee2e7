"""`piimage sensors`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from piimage.cli import sensors
from piimage.cli.main import execute
from piimage.hardware.chips import KnownChip
from piimage.lock import Lock

CHIPS = [KnownChip("bh1750", "i2c", "bh1750"), KnownChip("ds18b20", "w1", "w1_therm")]


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The boards whose kernel was looked at."""
    boards: list[str] = []

    def known(board: object, *_: object) -> tuple[str, list[KnownChip]]:
        boards.append(board.name)  # type: ignore[attr-defined]
        return "6.12.1", CHIPS

    monkeypatch.setenv("PIIMAGE_STORE", str(tmp_path / "store"))
    monkeypatch.setattr(sensors, "current_kernel", lambda *_: Lock())
    monkeypatch.setattr(sensors, "current_lock", lambda *_: Lock())
    monkeypatch.setattr(sensors, "known_chips", known)
    return boards


def test_the_chips_of_a_board(looked_at: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["sensors", "--board", "pi5"]) == 0
    out, err = capsys.readouterr()
    assert [line.split() for line in out.splitlines()] == [
        ["CHIP", "BUS", "MODULE"], ["bh1750", "i2c", "bh1750"], ["ds18b20", "w1", "w1_therm"],
    ]  # fmt: skip
    assert "2 chips, by the modules of the kernel 6.12.1" in err
    assert looked_at == ["pi5"]


def test_the_chips_of_the_kernel_in_a_files_lock(
    looked_at: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.yml"
    file.write_text("board: pi4\n")
    assert execute(["sensors", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "kernel": "6.12.1",
        "chips": [
            {"name": "bh1750", "bus": "i2c", "module": "bh1750"},
            {"name": "ds18b20", "bus": "w1", "module": "w1_therm"},
        ],
    }
    assert looked_at == ["pi4"]


@pytest.mark.provokes("plan.unsupported")
def test_a_kernel_from_an_image_is_not_looked_at(
    looked_at: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.yml"
    file.write_text("board: pi4\nkernel: { image: x }\n")
    assert execute(["sensors", str(file)]) == 2
    assert "piimage sensors --board pi4" in capsys.readouterr().err
    assert looked_at == []


@pytest.mark.parametrize("words", [[], ["a.yml", "--board", "pi4"]])
def test_either_a_file_or_a_board(words: list[str], looked_at: list[str]) -> None:
    assert execute(["sensors", *words]) == 2
    assert looked_at == []
