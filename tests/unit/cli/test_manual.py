"""The manual pages are what the commands say of themselves."""

from __future__ import annotations

from pathlib import Path

from piimage.cli import manual
from piimage.cli.main import VERBS

FOLDER = Path(__file__).parents[3] / "docs" / "man"
PARTS = ("BUILD", "PUSH", "MANIFEST", "SHOW-TAG", "LS")


def test_the_pages_are_what_the_commands_say() -> None:
    kept = {path.name: path.read_text() for path in FOLDER.iterdir()}
    assert kept == manual.manual(), "make them anew: make docs"


def test_each_verb_has_a_page_that_the_overview_names() -> None:
    pages = manual.manual()
    assert set(pages) == {"piimage.1", *(f"piimage-{verb}.1" for verb in VERBS)}
    assert "\\fBpiimage\\-flash(1)\\fR\nwrite an image to a card" in pages["piimage.1"]
    assert "\\fB\\-\\-yes\\fR \\fIDEVICE\\fR\nSkip the confirmation" in pages["piimage-flash.1"]
    assert (
        ".SH SYNOPSIS\n\\fBpiimage flash\\fR [\\fIOPTIONS\\fR] \\fIDEVICE FILE...\\fR"
        in (pages["piimage-flash.1"])
    )


def test_the_page_of_a_verb_with_parts_has_a_section_for_each() -> None:
    page = manual.manual()["piimage-pkg.1"]
    parts = [line for line in page.splitlines() if line.startswith('.SH "')]
    assert parts == [f'.SH "PIIMAGE PKG {name}"' for name in PARTS]


def test_text_is_never_taken_for_a_request_of_groff() -> None:
    # groff_char(7): these keys would be typeset as a hyphen, quotes and accents.
    assert manual._escaped(".env's `a-b` \\n ~^") == (
        "\\&.env\\(aqs \\(gaa\\-b\\(ga \\en \\(ti\\(ha"
    )


def test_pages_of_verbs_that_are_gone_are_removed(tmp_path: Path) -> None:
    (tmp_path / "piimage-gone.1").write_text("")
    (tmp_path / "notes.txt").write_text("")
    manual.write(tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"notes.txt", *manual.manual()}
