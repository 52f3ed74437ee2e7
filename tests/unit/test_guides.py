"""Each command of a guide is run by a test, or is listed with the reason why it is not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.guides import ELSEWHERE, NOT_RUN, RUN, Line, guides, read
from tests.unit import pages

LINES = [line for page in guides() for line in read(page)]
NAMED = re.compile(r"tests/[\w/]+\.py")


def test_each_command_is_run_or_has_a_reason() -> None:
    places = RUN | ELSEWHERE.keys()
    assert [line for line in LINES if line.page not in places and line.reason is None] == []


def test_a_page_is_run_in_one_place() -> None:
    assert RUN & ELSEWHERE.keys() == set()


@pytest.mark.parametrize("page", sorted(RUN | ELSEWHERE.keys() | NOT_RUN.keys()))
def test_what_is_listed_is_in_the_page(page: str) -> None:
    texts = [line.text for line in LINES if line.page == page]
    assert texts
    starts = NOT_RUN.get(page, {})
    assert [start for start in starts if not any(text.startswith(start) for text in texts)] == []


def test_the_tests_that_the_lists_name_exist() -> None:
    reasons = [reason for starts in NOT_RUN.values() for reason in starts.values()]
    named = NAMED.findall(" ".join([*reasons, *ELSEWHERE.values()]))
    assert [path for path in named if not (pages.ROOT / path).is_file()] == []


def test_a_command_is_read_as_a_person_types_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(
        "```console\n$ ls   # all files\nfile\n~ # ps\n```\n\n"
        "```sh\n# not this\ncp a \\\n    b\n```\n\n```sh\n#!/bin/sh\nls\n```\n"
    )
    assert [*read(page)] == [
        Line("page.md", "ls"),
        Line("page.md", "ps", on_the_pi=True),
        Line("page.md", "cp a b"),
    ]
