"""Every error has an entry in docs/errors and a test that provokes it."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

from tests.unit.syntax import nodes

ROOT = Path(__file__).parents[2]
ERROR_CLASSES = {"PiimageError", "InputError", "MissingTool", "DeviceRefused"}
CODE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*\.[a-z0-9]+(-[a-z0-9]+)*")


@functools.cache
def raised_codes() -> frozenset[str]:
    """The first argument of every error that the code makes, through local helpers as well."""
    found = set()
    for _, node in nodes(ROOT / "piimage", ""):
        if isinstance(node, ast.Call) and node.args:
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            first = node.args[0]
            if name in ERROR_CLASSES and isinstance(first, ast.Constant):
                found.add(first.value)
    return frozenset(found)


def documented_codes() -> set[str]:
    pages = (ROOT / "docs" / "errors").glob("*.md")
    headings = [re.findall(r"^## (\S+)$", page.read_text(), re.M) for page in pages]
    return {code for page in headings for code in page}


def provoked_codes() -> set[str]:
    found: set[str] = set()
    for _, node in nodes(ROOT / "tests", "provokes", "test_*.py"):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "provokes":
            found |= {arg.value for arg in node.args if isinstance(arg, ast.Constant)}
    return found


def test_every_code_has_the_form_area_dot_what() -> None:
    assert [code for code in raised_codes() if not CODE.fullmatch(code)] == []


def test_every_error_is_documented() -> None:
    assert sorted(raised_codes() - documented_codes()) == []


def test_every_documented_error_has_a_test_that_provokes_it() -> None:
    assert sorted(documented_codes() - provoked_codes()) == []


def test_no_documented_error_is_unknown_to_the_code() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "piimage").rglob("*.py"))
    assert sorted(code for code in documented_codes() if f'"{code}"' not in sources) == []
