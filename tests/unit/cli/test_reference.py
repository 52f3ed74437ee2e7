from __future__ import annotations

from pathlib import Path

from piimage.cli.firmware_reference import firmware_reference
from piimage.cli.main import VERBS
from piimage.cli.reference import cli_reference

REFERENCES = Path(__file__).parents[3] / "docs" / "reference"
PAGE = REFERENCES / "cli.md"


def test_the_page_is_what_the_commands_say() -> None:
    assert PAGE.read_text() == cli_reference(), "make it anew: make docs"


def test_the_page_of_the_firmware_is_what_the_reader_knows() -> None:
    page = (REFERENCES / "firmware.md").read_text()
    assert page == firmware_reference(), "make it anew: make docs"


def test_every_verb_is_in_it_with_an_example() -> None:
    page = cli_reference()
    for verb in VERBS:
        assert f"## piimage {verb}" in page
        assert f"`piimage {verb}" in page
