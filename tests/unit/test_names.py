"""Names that tell nothing are not used: a name is the field's word for the thing."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = (
    "appliance", "bench", "examples", "libraries", "piimage", "scripts", "services", "tests",
)  # fmt: skip
RIDDLES = {"asked", "below", "composed", "decided", "one", "said"}
# To parse all files would take seconds: most have these words in comments and strings alone.
_POSSIBLE = re.compile(
    rf"(?i:(?<![\w\"'])_*(?:{'|'.join(sorted(RIDDLES))})_*)(?=\s*(?:[=,:)(\]]|in\b))"
)


def names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield each name that the code gives to something, with its line."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield node.lineno, name
            case ast.arg(arg=name):
                yield node.lineno, name
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield node.lineno, name


def riddles(text: str) -> list[str]:
    """Return the names without meaning in a source."""
    if not _POSSIBLE.search(text):
        return []
    return [
        f"{line}: {name}"
        for line, name in names(ast.parse(text))
        if name.strip("_").lower() in RIDDLES
    ]


def test_no_name_is_a_riddle() -> None:
    sources = (path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py")))
    found = {str(path.relative_to(ROOT)): riddles(path.read_text()) for path in sources}
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    "text",
    [
        "one = 1", "for one in many: pass", "[x for _, one in many]", "def f(said): pass",
        "def _asked(): pass", "class Said: pass", "self.below = 1", "if (decided := f()): pass",
        "lambda composed: 1", "with f() as one: pass",
    ],
)  # fmt: skip
def test_a_riddle_is_noticed(text: str) -> None:
    assert len(riddles(text)) == 1


@pytest.mark.parametrize("text", ["f(one=1)", "'one'", "everyone = 1", "# one"])
def test_words_elsewhere_are_no_names(text: str) -> None:
    assert riddles(text) == []
