"""Every relative link and anchor of the Markdown pages leads somewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.unit import pages
from tests.unit.pages import PAGES, ROOT, tokens

# Code and messages name pages as "docs/NAME.md", often with a heading: "docs/NAME.md, Heading".
MENTION = re.compile(
    r"(?<![\w/])(?P<page>(?:docs|appliance)/[\w/-]+\.md)"
    r"(?:, (?:\"(?P<quoted>[^\"]+)|(?P<heading>[A-Z][\w ]+)))?"
)
LINUXKITS = ("docs/yaml.md", "docs/kernels.md")


def slug(heading: str) -> str:
    """GitHub's anchor of a heading: lower case, punctuation dropped, blanks as hyphens."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@cache
def headings(page: Path) -> list[str]:
    every = tokens(page)
    return [
        "".join(child.content for child in inline.children or [])
        for opening, inline in pairwise(every)
        if opening.type == "heading_open"
    ]


@cache
def anchors(page: Path) -> set[str]:
    seen: dict[str, int] = {}
    for name in map(slug, headings(page)):
        seen[name] = seen.get(name, -1) + 1
    return {
        name if not n else f"{name}-{n}" for name, last in seen.items() for n in range(last + 1)
    }


def links(page: Path) -> Iterator[str]:
    for token in tokens(page):
        for child in token.children or []:
            target = child.attrGet("href") or child.attrGet("src")
            if target and not re.match(r"[a-z]+:", str(target)):
                yield unquote(str(target))


def broken(page: Path) -> Iterator[str]:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        exists = target.exists() and target.is_relative_to(ROOT)
        if not exists or (anchor and anchor not in anchors(target)):
            yield link


@pytest.mark.parametrize("page", PAGES, ids=pages.title)
def test_links_lead_somewhere(page: Path) -> None:
    assert not list(broken(page))


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A. Head\n[a](#a-head) [b](#a.-head) [c](gone.md) ![d](gone.svg) `[e](x.md)`\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(globals(), "ROOT", tmp_path)
        assert list(broken(page)) == ["#a.-head", "gone.md", "gone.svg"]


def test_the_start_page_lists_every_page_of_the_site() -> None:
    """But for errors and decisions, whose own pages list them. Sphinx warns of others."""
    docs = ROOT / "docs"
    listed = {(docs / link).resolve() for link in links(docs / "index.md")}
    apart = {docs / "index.md", *docs.glob("errors/[!R]*"), *docs.glob("decisions/[!R]*")}
    assert [pages.title(page) for page in PAGES if page not in listed | apart] == []


def test_pages_that_the_code_names_exist() -> None:
    sources = [
        *(ROOT / "piimage").rglob("*.py"), *(ROOT / "appliance").rglob("*.py"),
        *(ROOT / "boards").glob("*.yml"), ROOT / "Makefile",
    ]  # fmt: skip
    mentions = [match for source in sources for match in MENTION.finditer(source.read_text())]
    assert len(mentions) > 10
    for mention in mentions:
        if mention["page"] in LINUXKITS:
            continue
        page = ROOT / mention["page"]
        assert page.exists(), mention[0]
        heading = mention["quoted"] or mention["heading"] or ""
        assert any(name.startswith(heading) for name in headings(page)), mention[0]
