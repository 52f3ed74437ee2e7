"""The Markdown pages of the repository, as the tests read them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
_FOLDERS = ("appliance", "docs", "examples", "kernel-modules", "libraries", "services")
PAGES = sorted(
    [*ROOT.glob("*.md"), *(page for name in _FOLDERS for page in (ROOT / name).rglob("*.md"))]
)


def title(page: Path) -> str:
    """Return the path of a page, for the name of its test."""
    return str(page.relative_to(ROOT))


@cache
def tokens(page: Path) -> list[Token]:
    """Return the blocks of a page, by CommonMark and GitHub's tables."""
    return MarkdownIt("gfm-like", {"linkify": False}).parse(page.read_text())
