"""Pages, messages and help texts are read once: short sentences, no word that is a riddle."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LONGEST = 40  # words; a list in a sentence counts once for each of its items
PAGES = sorted(
    path
    for pattern in (
        "README.md",
        "docs/*.md",
        "docs/errors/*.md",
        "docs/reference/*.md",
        "services/*/README.md",
    )
    for path in ROOT.glob(pattern)
    if path.name != "messages.md"  # a list of codes
)
RIDDLES = {
    "so many": "N",
    "stands twice": "is listed twice",
    "here belongs": "expected",
    "what differs from": "the difference between",
    "lets you": "allows",
    "a thing": "its name",
}
"""What a reader has to turn over, and what says the same."""

_BLOCKS = re.compile(r"```.*?```|<!--.*?-->|<[^>]+>", re.DOTALL)
_PARAGRAPHS = re.compile(r"\n\s*\n|\n(?=\s*(?:[-*#]|\d+\.) )|\||\n")
_LINKS = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_CODE = re.compile(r"`[^`]*`")
_ENDS = re.compile(r"(?<=[.!?:;)])\s+")


def sentences(text: str) -> Iterator[str]:
    """Give the sentences of a page; code counts as a word, a cell of a table as a paragraph."""
    for paragraph in _PARAGRAPHS.split(_BLOCKS.sub("", text)):
        plain = _CODE.sub("CODE", _LINKS.sub(r"\1", paragraph))
        yield from _ENDS.split(" ".join(plain.split()))


def faults(text: str) -> list[str]:
    """Return the sentences that are too long, and those with a riddle."""
    return [
        sentence
        for sentence in sentences(text)
        if (len(sentence.split()) > LONGEST and " · " not in sentence)
        or any(f" {riddle} " in f" {sentence.lower()} " for riddle in RIDDLES)
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_is_read_once(page: Path) -> None:
    assert faults(page.read_text()) == []


@pytest.mark.parametrize(
    "text",
    [
        f"It says {'very ' * LONGEST}much.",
        "Deploys to so many hosts.",
        "The key stands twice here.",
    ],
)
def test_a_fault_is_noticed(text: str) -> None:
    assert faults(f"# Title\n\nA sentence.\n{text}\n") == [text]


@pytest.mark.parametrize(
    "text",
    [
        f"```console\n$ {'word ' * 60}\n```", f"A line with `{'code ' * 50}` in it.",
        f"| {'a cell ' * 12} | {'another ' * 20} |", f"- {'an item ' * 19}\n- {'two ' * 39}",
    ],
)  # fmt: skip
def test_code_and_cells_are_no_sentence(text: str) -> None:
    assert faults(text) == []
