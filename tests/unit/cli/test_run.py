"""What `piimage run` shows of the console."""

from __future__ import annotations

import pytest

from piimage.cli.run import _Screen


@pytest.mark.parametrize(
    ("pieces", "shown"),
    [
        ([b"a\r\nHEL", b"LO"], b"a\r\nHELLO\r\n"),
        ([b"HELLO\r\n"], b"HELLO\r\n"),
        ([], b""),
    ],
)
def test_the_last_line_is_ended_once_and_nothing_stands_within_it(
    pieces: list[bytes], shown: bytes, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    screen = _Screen()
    for piece in pieces:
        screen.show(piece)
    screen.end_line()
    assert capfdbinary.readouterr().out == shown
