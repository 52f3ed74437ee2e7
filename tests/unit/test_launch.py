"""No source starts Python or git in a way that runs what lies in the working folder."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _modules() -> Iterator[Path]:
    for top in ("piimage", "services"):
        yield from (ROOT / top).rglob("*.py")
    for name in ("chipmodels", "sensorkit"):
        yield from (ROOT / "libraries" / name / name).rglob("*.py")
    yield from (ROOT / "appliance").rglob("*.py")


# The interpreter as something to look at, within a sandbox, or with a flag that does the same.
OTHERWISE = {
    "piimage/launch.py",
    "piimage/python/resolve.py",
    "libraries/chipmodels/chipmodels/testing/engines.py",
    "libraries/chipmodels/chipmodels/testing/guest.py",
    "libraries/chipmodels/chipmodels/testing/qemu.py",
    "services/dashboard/dashboard/compiled.py",
}
_SAFE = re.compile(r"-[A-Za-z]*[IP]")


def test_nothing_else_starts_python_or_git() -> None:
    texts = {path: path.read_text() for path in _modules()}
    found = {
        str(path.relative_to(ROOT))
        for path, text in texts.items()
        if re.search(r"\.executable\b|\b(git|python3?)[\"']", text)  # parsing all takes seconds
        for node in ast.walk(ast.parse(text))
        if _starts_one(node)
    }
    assert found == {*OTHERWISE, "piimage/python/source.py"}


def _starts_one(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute) and node.attr == "executable":
        return True
    if not isinstance(node, ast.List | ast.Tuple) or not node.elts:
        return False
    first, *rest = (word.value if isinstance(word, ast.Constant) else None for word in node.elts)
    # A list of packages begins with such a name too; a command goes on with an option.
    goes_on = bool(rest) and isinstance(rest[0], str) and rest[0].startswith("-")
    return str(first).rpartition("/")[2] in ("git", "python", "python3") and goes_on


@pytest.mark.parametrize("name", sorted({*OTHERWISE, "piimage/python/source.py"}))
def test_where_python_is_started_otherwise_it_has_the_flag(name: str) -> None:
    text = (ROOT / name).read_text()
    started = re.findall(r"""(?:sys\.executable\}?|"python3")['"]?,? +["']?(-\S+)""", text)
    assert started or name in ("piimage/python/resolve.py", "piimage/launch.py")
    assert [words for words in started if not _SAFE.match(words)] == []


def test_scripts_and_containers_start_modules_apart_from_their_folder() -> None:
    """Shell, make, container folders: python that is given a module or a file."""
    checked = 0
    for path in _scripts():
        for words in re.findall(r"python3?[\"',]*((?:[ ,]+[\"']?-[A-Za-z]+[\"',]*)+)", _text(path)):
            checked += 1
            assert _SAFE.search(words), f"{path}: python{words}"
    assert checked >= 14


def _scripts() -> Iterator[Path]:
    yield ROOT / "Makefile"
    yield from (path for path in (ROOT / "scripts").iterdir() if path.is_file())
    every = (path for path in (ROOT / "appliance").rglob("*") if path.is_file())
    yield from (path for path in every if "__pycache__" not in path.parts)
    yield from (ROOT / "services").glob("*/service.yml")
    yield from (ROOT / "services").glob("*/Dockerfile")
    yield from (ROOT / "examples").glob("*.yml")


def _text(path: Path) -> str:
    lines = path.read_text(errors="replace").splitlines()  # a compiled profile is no text
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    return re.sub(r"\n\s*- ", " ", text)  # a YAML list on lines of its own
