"""Each command of a guide is run by a test, or is listed with the reason why it is not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.guides import APART, ELSEWHERE, NOT_RUN, RUN, SAME, Line, guides, read, report
from tests.unit import pages

LINES = [line for page in guides() for line in read(page)]
NAMED = re.compile(r"tests/[\w/]+\.py")


def test_each_command_is_run_or_has_a_reason() -> None:
    places = RUN | ELSEWHERE.keys()
    assert [line for line in LINES if line.page not in places and line.reason is None] == []


def test_a_page_is_run_in_one_place() -> None:
    assert RUN & ELSEWHERE.keys() == set()


@pytest.mark.parametrize("page", sorted(RUN | ELSEWHERE.keys() | NOT_RUN.keys() | APART.keys()))
def test_what_is_listed_is_in_the_page(page: str) -> None:
    texts = [line.text for line in LINES if line.page == page]
    assert texts
    starts = {**NOT_RUN.get(page, {}), **APART.get(page, {})}
    assert [start for start in starts if not any(text.startswith(start) for text in texts)] == []


def test_the_tests_that_the_lists_name_exist() -> None:
    reasons = [reason for starts in NOT_RUN.values() for reason in starts.values()]
    alone = [test for starts in APART.values() for test in starts.values()]
    named = NAMED.findall(" ".join([*reasons, *alone, *ELSEWHERE.values()]))
    assert [path for path in named if not (pages.ROOT / path).is_file()] == []


@pytest.mark.parametrize("page", sorted(SAME))
def test_a_page_has_only_commands_of_the_page_that_is_run(page: str) -> None:
    texts = {line.text for line in LINES if line.page == page}
    run = {line.text for line in LINES if line.page == SAME[page] and line.reason is None}
    assert texts - run == set()
    assert page in ELSEWHERE


def test_most_commands_are_run_as_they_are_shown() -> None:
    """`python -m tests.guides` prints the number."""
    run = sum(line.reason is None for line in LINES)
    assert f"{len(LINES)} commands on " in report() and f" {run} are run as" in report()
    assert run > 0.6 * len(LINES)


def test_the_input_of_a_command_is_no_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text("```sh\ncat >a <<END\n[tool]\nls\nEND\nls b\n```\n")
    assert [line.text for line in read(page)] == ["cat >a <<END", "ls b"]


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
