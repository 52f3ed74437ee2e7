"""The table of host programs is what piimage starts: no more, and no less."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from piimage import tools

PACKAGE = Path(tools.__file__).parent

# Programs of Debian's essential packages (coreutils, util-linux's mount), and those that are
# started after a look whether they are there, or in a guest.
ALWAYS_THERE = {"cp", "head", "mount"}
OPTIONAL = {"sudo", "update-binfmts"}
IN_A_GUEST = {"tail", "true", "wget"}
METHODS = ("run", "start", "feed", "interactive")
_STARTS = re.compile(rf"\.({'|'.join(METHODS)})\(\s*\[")


def unnamed(programs: Iterable[str]) -> set[str]:
    """Return those of the programs that no other module has as a string."""
    texts = [path.read_text() for path in PACKAGE.rglob("*.py") if path.name != "tools.py"]
    return {name for name in programs if not any(f'"{name}"' in text for text in texts)}


def first_words() -> Iterator[str]:
    """Give the first word of each list that is an argument of a method that starts a program."""
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        # Most files start nothing, and to parse all would take seconds.
        for node in ast.walk(ast.parse(text)) if _STARTS.search(text) else ():
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                yield from _program(node.func.attr, node.args[0])


def _program(method: str, argument: ast.expr) -> Iterator[str]:
    if method in METHODS and isinstance(argument, ast.List):
        first = argument.elts[0]
        if isinstance(first, ast.Constant):
            yield str(first.value)


def test_every_program_of_the_table_is_started_somewhere() -> None:
    assert unnamed(tools.TOOLS) == set()


def test_every_program_that_is_started_is_in_the_table() -> None:
    found = set(first_words())
    assert len(found) > 15  # the search does find them
    assert found - set(tools.TOOLS) - ALWAYS_THERE - OPTIONAL - IN_A_GUEST == set()
