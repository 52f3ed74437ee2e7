"""The arrows of docs/ARCHITECTURE.md: a package imports only what lies below it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAP = ROOT / "docs" / "ARCHITECTURE.md"

Import = tuple[str, str, str]
"""Where (``file:line``), which package imports, and which is imported."""


def layers() -> list[str]:
    """Return the packages and modules of the map's table, in its order."""
    (table,) = re.findall(r"^\| layer \|.*\n\|.*\n((?:\|.*\n)+)", MAP.read_text(), re.MULTILINE)
    return re.findall(r"`(\w+)`", table)


def package_of(module: str) -> str:
    """Return what of `piimage` a module belongs to: ``piimage.config.load`` to ``config``."""
    return module.split(".")[1]


def imports(top: Path) -> Iterator[Import]:
    """Give every import, be it within a function, of one package or module by another."""
    for path in sorted(top.rglob("*.py")):
        inside = path.relative_to(top).with_suffix("").parts
        if inside == ("__init__",):
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            for name in _imported(line.strip()):
                if name.startswith("piimage.") and package_of(name) != inside[0]:
                    yield f"{path.relative_to(top)}:{number}", inside[0], package_of(name)


def _imported(line: str) -> list[str]:
    """Return what a line imports; ruff holds the form, and to parse all files takes seconds."""
    match line.partition("#")[0].replace(",", " ").split():
        case ["import", name, *_]:
            return [name]
        case ["from", "piimage", "import", *names]:
            assert "(" not in names, f"too long to be read here: {line}"
            return [f"piimage.{name}" for name in names]
        case ["from", module, "import", *_]:
            return [module]
    return []


def upward(top: Path, order: list[str]) -> list[Import]:
    """Return the imports of what comes earlier in `order`."""
    rank = {name: number for number, name in enumerate(order)}
    return [found for found in imports(top) if rank[found[1]] >= rank[found[2]]]


def test_the_map_names_each_package_and_module_once() -> None:
    present = {
        path.stem
        for path in (ROOT / "piimage").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    assert sorted(layers()) == sorted(present - {"__init__"})


def test_a_package_imports_only_what_comes_after_it_on_the_map() -> None:
    assert upward(ROOT / "piimage", layers()) == []


@pytest.mark.parametrize(
    "line",
    [
        "from piimage.high.x import y",
        "from piimage import high",
        "import piimage.high",
        "def f():\n    from piimage.before import x",
    ],
)
def test_an_import_that_runs_up_is_noticed(tmp_path: Path, line: str) -> None:
    for name in ("high", "before", "low"):
        (tmp_path / name).mkdir()
    (tmp_path / "low" / "module.py").write_text(f"from piimage.low import other\n{line}\n")
    (tmp_path / "high" / "module.py").write_text("from piimage.low import module\n")
    ((where, importer, _),) = upward(tmp_path, ["high", "before", "low"])
    assert (where.partition(":")[0], importer) == ("low/module.py", "low")
