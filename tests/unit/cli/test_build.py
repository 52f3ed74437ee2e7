"""The last line of `piimage build`: what was built, and the next command."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from piimage.boards import load_board
from piimage.cli import main as cli
from piimage.cli.build import _paths, _summary

CARD: Any = SimpleNamespace(image=Path("out/shed.img"), map=SimpleNamespace(mapped=62_200_000))


@pytest.mark.parametrize(
    ("board", "command"),
    [
        ("pi4", "piimage run out/shed.img"),
        ("qemu-virt", "piimage run out/shed.img"),
        ("pi5", "piimage flash /dev/sdX out/shed.img"),
    ],
)
def test_the_next_command_is_run_only_if_qemu_has_the_board(board: str, command: str) -> None:
    outputs: Any = SimpleNamespace(card=CARD, paths=(CARD.image,))
    summary = _summary(outputs, emulated=load_board(board).emulator is not None)
    assert summary == f"out/shed.img: 62.2 MB to write, next: {command}"


def test_without_a_card_there_is_no_next_command() -> None:
    outputs: Any = SimpleNamespace(card=None, paths=(Path("out/shed.tar"),))
    assert _summary(outputs, emulated=True) == "wrote out/shed.tar"


def test_standard_input_becomes_a_file_in_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIIMAGE_STORE", str(tmp_path / "store"))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"board: pi4\n")))
    assert _paths(["base.yml", "-"], "shed", []) == (Path("base.yml"), Path("shed.yml"))
    assert Path("shed.yml").read_bytes() == b"board: pi4\n"


def test_an_error_in_what_was_received_has_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIIMAGE_STORE", str(tmp_path / "store"))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"board: pi4\nbord: x\n")))
    assert cli.execute(["build", "-"]) == 2
    assert "stdin.yml:2:1: unknown key 'bord'" in capsys.readouterr().err


def test_a_name_of_results_that_is_no_file_name_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.execute(["build", "pi4.yml", "--name", "../shed"]) == 2
    assert "[received.name]" in capsys.readouterr().err
