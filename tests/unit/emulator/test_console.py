from __future__ import annotations

import re
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piimage.emulator.console import Console, Line, Phase, phases
from tests.examples import examples


class Clock:
    """Wall and processor time that go on by one and two seconds at each look."""

    def __init__(self) -> None:
        self.looks = 0

    def __call__(self) -> tuple[float, float]:
        self.looks += 1
        return float(self.looks), float(2 * self.looks)


def fed(*pieces: bytes) -> Console:
    console = Console(Clock())
    for piece in pieces:
        console.feed(piece)
    return console


def texts(console: Console) -> list[str]:
    return [line.text for line in console.lines()]


def test_lines_carry_the_time_at_which_they_began() -> None:
    console = fed(b"one\ntw", b"o\nthree")
    assert console.lines() == (Line("one", 1, 2), Line("two", 1, 2), Line("three", 2, 4))


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ((b"\x1b[1;31mred\x1b[0m\r\n",), ["red"]),
        ((b"a\x1b", b"[3", b"1mb\n"), ["ab"]),
        ((b"\x1b7\x1b[r\x1b[999;999H\x1b[6n~ # ",), ["~ # "]),
        ((b"Gr\xc3", b"\xbc\xc3\x9fe\n"), ["Grüße"]),
        ((b"\xff\xfe\n",), ["\ufffd\ufffd"]),
        ((b"\n\n",), ["", ""]),
    ],
)
def test_escapes_and_halves_of_characters_leave_no_trace(
    pieces: tuple[bytes, ...], expected: list[str]
) -> None:
    assert texts(fed(*pieces)) == expected


def test_a_text_is_found_across_pieces_and_consumed() -> None:
    console = fed(b"... log", b"in: x login")
    assert console.wait([re.compile("login:")], 0) is not None
    assert console.wait([re.compile("login:")], 0.01) is None
    console.feed(b":")
    assert console.wait([re.compile("login:")], 0) is not None


def test_the_first_pattern_counts() -> None:
    found = fed(b"panic then HELLO").wait([re.compile("HELLO"), re.compile("panic")], 0)
    assert found is not None
    assert found[0] == "HELLO"


def test_a_wait_ends_when_the_text_comes_or_the_console_ends() -> None:
    console = fed()
    later = threading.Timer(0.05, console.feed, [b"ready\n"])
    later.start()
    assert console.wait([re.compile("ready")], 10) is not None
    later = threading.Timer(0.05, console.end)
    later.start()
    began = time.monotonic()
    assert console.wait([re.compile("never")], 10) is None
    assert time.monotonic() - began < 5
    assert console.ended


def test_a_wait_may_have_no_end() -> None:
    console = fed()
    threading.Timer(0.05, console.feed, [b"ready\n"]).start()
    assert console.wait([re.compile("ready")], float("inf")) is not None


def test_memory_is_bounded() -> None:
    console = fed(*(b"x" * 4096 + b"\n" for _ in range(600)))
    console.feed(b"y" * (3 << 20))
    assert len(console.lines()[-1].text) == 1 << 16
    assert console.wait([re.compile("x")], 0) is None
    many = fed(b"\n" * 50_000)
    assert len(many.lines()) == 20_000


def test_phases_go_from_mark_to_mark() -> None:
    lines = (
        Line("piimage: phase initramfs", 2, 3),
        Line("something", 3, 4),
        Line("[1.0] piimage: phase process-1 ", 5, 7),
        Line("end", 6, 9),
    )
    assert phases(lines) == (
        Phase("kernel", 2, 3),
        Phase("initramfs", 3, 4),
        Phase("process-1", 1, 2),
    )
    assert phases(()) == (Phase("kernel", 0, 0),)


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=8))
def test_pieces_make_no_difference(pieces: list[bytes]) -> None:
    assert texts(fed(*pieces)) == texts(fed(b"".join(pieces)))
