"""Which code decides what a step makes."""

from __future__ import annotations

import ast
import functools
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from piimage import code

PACKAGE = Path(code.__file__).parent
MESSAGES = {"piimage.errors", "piimage.events"}


@pytest.fixture
def digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Mapping[str, str]], str]:
    """Write a package, and digest the code that its ``step`` is made of."""
    monkeypatch.setattr(code, "_folder", lambda package: tmp_path / package)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def written(files: Mapping[str, str]) -> str:
        shutil.rmtree(tmp_path / "package", ignore_errors=True)
        for name, text in {"__init__.py": "", **files}.items():
            path = tmp_path / "package" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return fresh(["package.step"])["package.step"]

    return written


@pytest.mark.parametrize(
    "line",
    [
        "import package.a.b",
        "from package.a import b",
        "from package.a.b import x",
        "from package import a\nfrom package.a import (\n    c,\n    b,\n)",
        "def f():\n    from package.a import b as other",
        "class C:\n    def f(self):\n        import package.a.b",
        "import package.between",
    ],
)
def test_what_is_imported_counts(digest: Callable[[Mapping[str, str]], str], line: str) -> None:
    files = {
        "step.py": line, "a/__init__.py": "", "a/b.py": "x = 1", "a/c.py": "", "other.py": "y = 1",
        "between.py": "from package.a.b import x",
    }  # fmt: skip
    first = digest(files)
    assert digest(files) == first
    assert digest({**files, "a/b.py": "x = 2"}) != first
    assert digest({**files, "step.py": f"{line}\n"}) != first
    assert digest({**files, "a/__init__.py": "z = 1"}) != first
    assert digest({**files, "other.py": "y = 2", "a/d.py": ""}) == first


@pytest.mark.parametrize("name", ["piimage.nothing", "nothing.at.all", "json.decoder.JSONDecoder"])
def test_what_has_no_source_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"has no source to hash|is no package"):
        code.closure(name)


def sources() -> Mapping[str, str]:
    """Return the text of every module of piimage by its name."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts).removesuffix(".__init__")] = path.read_text()
    return found


SOURCES = sources()


@functools.cache
def imported(module: str) -> frozenset[str]:
    """Return the modules of piimage that `module` imports, by Python's grammar."""
    return frozenset(_imported(ast.parse(SOURCES[module])))


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "piimage has no relative imports"
            yield from (node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names))


def everything_below(module: str) -> set[str]:
    known: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in SOURCES and name not in known | MESSAGES:
            known.add(name)
            waiting += [*imported(name), name.rpartition(".")[0]]
    return known


def step_modules() -> list[str]:
    """Return the modules that hold a kind of step: where `make` or `tree` of one is written."""
    return sorted(
        name
        for name, text in SOURCES.items()
        if name != "piimage.steps" and re.search(r"def (make|tree)\([^)]*\bjob\b", text)
    )


def test_steps_are_found() -> None:
    assert {"piimage.compose.layers", "piimage.kernel.initramfs", "piimage.oci.steps"} < {
        *step_modules()
    }


@pytest.mark.parametrize("module", step_modules())
def test_a_step_counts_all_code_below_it(module: str) -> None:
    assert everything_below(module) <= code.closure(module)


Digests = Mapping[str, str]


@pytest.fixture(scope="module")
def before_and_after(tmp_path_factory: pytest.TempPathFactory) -> tuple[Digests, Digests]:
    """Digest each step's code in a copy of piimage, before and after a change of `run.py`."""
    copy = tmp_path_factory.mktemp("copy") / "piimage"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("data", "__pycache__"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(code, "_folder", lambda package: copy)
        before = fresh(step_modules())
        change_function(copy / "run.py")
        return before, fresh(step_modules())


@pytest.mark.slow
@pytest.mark.parametrize("module", step_modules())
def test_a_function_that_changes_below_a_step_moves_its_key(
    module: str, before_and_after: tuple[Digests, Digests]
) -> None:
    before, after = before_and_after
    assert before[module] != after[module]


def change_function(path: Path) -> None:
    """Put a statement into the last function of the module at `path`."""
    functions = [
        node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)
    ]
    statement = functions[-1].body[-1]
    lines = path.read_text().splitlines(keepends=True)
    lines.insert(statement.lineno - 1, f"{' ' * statement.col_offset}changed = True\n")
    path.write_text("".join(lines))


def fresh(modules: list[str]) -> Digests:
    """Return the digest of each module as a new process would work it out."""
    caches = (code.digest, code._imports, code._files)
    for function in caches:
        function.cache_clear()
    found = {module: code.digest(module) for module in modules}
    for function in caches:
        function.cache_clear()
    return found
