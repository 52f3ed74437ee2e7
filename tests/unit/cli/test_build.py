"""The last line of `piimage build`: what was built, and the next command."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from piimage.boards import load_board
from piimage.cli.build import _summary

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
