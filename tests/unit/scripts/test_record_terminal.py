"""The README's picture of a terminal."""

from __future__ import annotations

import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
from record_terminal import COLUMNS, COMMANDS, Recording, picture, record, visible_lines

ROOT = Path(__file__).parents[3]
SVG = "{http://www.w3.org/2000/svg}"


def shown(document: str) -> list[str]:
    return [
        "".join(text.itertext()) for text in ElementTree.fromstring(document).iter(f"{SVG}text")
    ]


def test_a_command_runs_on_a_terminal_as_wide_as_the_picture(tmp_path: Path) -> None:
    assert record("stty size", tmp_path) == f"40 {COLUMNS}\r\n".encode()
    assert record("tty -s", tmp_path) == b""


def test_a_command_that_fails_leaves_no_picture(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError, match="exit status 1"):
        record("false", tmp_path)


@pytest.mark.parametrize(
    ("written", "lines"),
    [
        (b"one\r\n\r\ntwo\r\r\n", ("one", "two")),
        (b"\x1b[1;32mgreen\x1b[0m\r\n", ("green",)),
        (b"50 %\r100 %\r\n", ("100 %",)),
        (b"\x1b[?25l\r\x1b[2Kbar\r\x1b[2Kdone\r\n\x1b[?25h", ("done",)),
        (b"erased\r\x1b[2K", ()),
        (b"bar 1\r\nbar 2\r\x1b[2K\x1b[1A\x1b[2Kdone\r\n", ("done",)),
        (b"a\r\nb\x1b[Ac\r\n", ("ac", "b")),
        (b"  0.65 s  pack the initramfs\r\nmade in 0.65 s  of it\r\n", ("made in 0.65 s  of it",)),
    ],
)
def test_lines_are_those_that_a_terminal_still_shows(written: bytes, lines: tuple[str]) -> None:
    assert visible_lines(written) == lines


def test_what_is_drawn_is_what_was_recorded() -> None:
    document = picture([Recording("a <b>", ("x & y", "two  blanks")), Recording("c", ())])
    assert shown(document) == ["$ a <b>", "x & y", "two  blanks", "$ c"]
    assert "@media (prefers-color-scheme: dark)" in document


def test_the_readmes_picture_shows_the_commands_in_their_order() -> None:
    lines = shown((ROOT / "docs/images/terminal.svg").read_text())
    assert [line[2:] for line in lines if line.startswith("$ ")] == list(COMMANDS)
    assert lines[-1].startswith("HELLO from greenhouse: Linux ")
    assert max(map(len, lines)) <= COLUMNS
