from __future__ import annotations

from pathlib import Path

from piimage.cli.firmware_reference import firmware_reference
from piimage.cli.main import VERBS
from piimage.cli.reference import cli_reference
from piimage.cli.service_reference import service_reference

REFERENCES = Path(__file__).parents[3] / "docs" / "reference"
PAGE = REFERENCES / "cli.md"


def test_the_page_is_what_the_commands_say() -> None:
    assert PAGE.read_text() == cli_reference(), "make it anew: make docs"


def test_the_page_of_the_firmware_is_what_the_reader_knows() -> None:
    page = (REFERENCES / "firmware.md").read_text()
    assert page == firmware_reference(), "make it anew: make docs"


def test_the_page_of_the_ready_made_services_is_what_their_files_say() -> None:
    page = (REFERENCES / "services.md").read_text()
    assert page == service_reference(), "make it anew: make docs"
    granted = page.partition("## ntp\n")[2].partition("\n## ")[0]
    assert "- capabilities: `CAP_SYS_TIME`\n" in granted
    assert "`NTP_SERVERS`: hosts" in granted


def test_every_verb_is_in_it_with_an_example() -> None:
    page = cli_reference()
    for verb in VERBS:
        assert f"## piimage {verb}" in page
        assert f"`piimage {verb}" in page
