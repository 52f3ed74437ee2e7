"""The documentation as a site: `make site` builds it with Sphinx into out/site.

Sources are the Markdown pages where they lie, so each link between them is the same in the
repository and on the site. docs/index.md is the start page; its lists of links are the site's
table of contents.
"""

from __future__ import annotations

import re
from pathlib import Path

from sphinx.application import Sphinx

project = "piimage"
root_doc = "docs/index"
extensions = ["myst_parser"]
include_patterns = [
    "README.md",
    "CHANGELOG.md",
    "docs/**.md",
    "examples/*/README.md",
    "appliance/README.md",
    "libraries/*/README.md",
    "services/*/README.md",
]
# Not looked through at all.
exclude_patterns = [".*", "out", "tests", "piimage", "**/node_modules"]

myst_heading_anchors = 4
suppress_warnings = ["myst.header"]  # a section of an error may begin at any level
pygments_style = "default"
pygments_dark_style = "github-dark"

html_theme = "furo"
html_title = "piimage"
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
html_permalinks_icon = "#"
html_static_path = ["site"]
html_css_files = ["site.css"]
html_extra_path = ["site/start"]
html_theme_options = {"navigation_with_keys": False}

_ROOT = Path(__file__).parents[1]
_SECTION = re.compile(r"^## (?P<caption>.+)\n(?P<text>(?:(?!## ).*\n?)*)", re.M)
_HEADING = re.compile(r"# (?:[0-9]+[.:]? )?(?P<text>.+)")
_FOLDER = re.compile(r"\]\((?P<folder>[^():]+/)\)")
_LINK = re.compile(r"^- \[(?P<title>.+?)\]\((?P<page>.+?\.md)\)", re.M)


def _contents(page: Path, text: str) -> str:
    """Return one hidden table of contents for each section of `text`, of the pages it lists."""
    tables = []
    for section in _SECTION.finditer(text):
        entries = [
            f"{link['title']} </{(page.parent / link['page']).resolve().relative_to(_ROOT)}>"
            for link in _LINK.finditer(section["text"])
        ]
        lines = ["```{toctree}", ":hidden:", f":caption: {section['caption']}", "", *entries, "```"]
        tables.append("\n".join(lines))
    return "\n\n".join(tables)


def _prepare(_: Sphinx, name: str, source: list[str]) -> None:
    """Point links to folders at their README, and add the tables of contents."""
    source[0] = _FOLDER.sub(r"](\g<folder>README.md)", source[0])
    if name == root_doc:
        source[0] += "\n\n" + _contents(_ROOT / f"{name}.md", source[0])
    elif name in ("docs/errors/README", "docs/decisions/README"):
        entries = map(_entry, sorted((_ROOT / name).parent.glob("[!R]*.md")))
        source[0] += "\n\n```{toctree}\n:maxdepth: 1\n\n" + "\n".join(entries) + "\n```\n"


def _entry(page: Path) -> str:
    """Return the entry of a page in a list: its heading, with the number of its file name first."""
    number = re.match(r"[0-9]+ |", page.name.replace("-", " "))
    heading = _HEADING.match(page.read_text())
    assert number is not None and heading is not None, f"{page} has no heading"  # noqa: S101
    text = heading["text"].replace("`", "")  # titles of entries are plain text
    return f"{number[0]}{text} <{page.stem}>"


def setup(app: Sphinx) -> None:
    """Connect the function above; Sphinx calls this."""
    app.connect("source-read", _prepare)
