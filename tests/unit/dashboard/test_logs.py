"""A log as it grows and rotates."""

from __future__ import annotations

from pathlib import Path

import pytest
from dashboard import logs
from dashboard.root import Root

from tests.dashboard import ScratchPi


class Log:
    """The log of the service web."""

    def __init__(self, folder: Path) -> None:
        self.pi = ScratchPi(folder)
        self.root = Root(str(folder))
        self.path = self.pi.path("var/log/services/web/log")

    def add(self, text: str) -> None:
        with self.path.open("a") as log:
            log.write(text)

    def rotate(self) -> None:
        """Do what the Pi's program `log` does."""
        self.path.rename(self.path.with_name("log.1"))
        self.path.write_text("")

    def read(self, cursor: str = "") -> tuple[str, str]:
        part = logs.read(self.root, "web", cursor)
        assert part is not None
        return part.text, part.cursor


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "pi")


def test_the_end_comes_first_and_then_what_is_new(log: Log) -> None:
    text, cursor = log.read()
    assert text == "web: first line\nweb: last line\n"
    assert log.read(cursor)[0] == ""
    log.add("later\n")
    assert log.read(cursor)[0] == "later\n"


def test_of_a_long_log_whole_lines_come(log: Log) -> None:
    log.add("".join(f"line {number:05d} of many\n" for number in range(5000)))
    text, cursor = log.read()
    assert text.startswith("line ")
    assert text.endswith("line 04999 of many\n")
    assert 15_000 < len(text) <= 16_384
    assert log.read(cursor)[0] == ""


def test_nothing_is_lost_when_the_log_rotates(log: Log) -> None:
    _, cursor = log.read()
    log.add("before\n")
    log.rotate()
    log.add("after\n")
    rest, cursor = log.read(cursor)
    assert (rest, log.read(cursor)[0]) == ("before\n", "after\n")


def test_after_two_rotations_the_present_log_goes_on(log: Log) -> None:
    _, cursor = log.read()
    log.rotate()
    log.path.with_name("log.1").rename(log.path.with_name("log.2"))
    log.path.rename(log.path.with_name("log.1"))
    log.path.write_text("now\n")
    rest, cursor = log.read(cursor)
    assert (rest, log.read(cursor)[0]) == ("", "now\n")


@pytest.mark.parametrize("cursor", ["x", "1-", "-1-2", "1-2-3", "1" * 30 + "-1", "1-9999999999"])
def test_a_cursor_from_elsewhere_is_no_error(log: Log, cursor: str) -> None:
    assert isinstance(log.read(cursor)[0], str)


def test_a_log_that_is_kept_on_the_data_partition_is_not_here(log: Log) -> None:
    folder = log.path.parent
    for name in folder.iterdir():
        name.unlink()
    folder.rmdir()
    folder.symlink_to("/data/piimage/logs/web")
    assert logs.read(log.root, "web") is None


def test_bytes_that_are_no_text_are_shown_as_such(log: Log) -> None:
    log.path.write_bytes(b"\xff\x00ok\n")
    assert log.read()[0] == "\ufffd\x00ok\n"
