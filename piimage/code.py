"""The code that decides what a step makes: its module, and all of its package that this imports.

Imports are read from the compiled modules, those within functions and for type checks too. That
takes in more than what runs, never less.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
from collections.abc import Iterator, Mapping
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import Final

_MESSAGES: Final = frozenset({"piimage.errors", "piimage.events"})
"""Modules that carry messages about the work, and decide no byte of it."""


@functools.cache
def digest(module: str) -> str:
    """Return the digest of the sources of `closure`; ValueError as there."""
    hashed = hashlib.sha256()
    for name in sorted(closure(module)):
        path = _file(name)
        assert path is not None  # noqa: S101  # `closure` gives modules that have one
        inside = name.partition(".")[2]
        hashed.update(f"{inside}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return hashed.hexdigest()


def closure(module: str) -> frozenset[str]:
    """Return `module` and every module of its package that it imports, however far below.

    Raises ValueError for a module that has no source.
    """
    if _file(module) is None:
        raise ValueError(f"{module} has no source to hash")
    known = {module}
    waiting = [module]
    while waiting:
        imported = _imports(waiting.pop()) - known - _MESSAGES
        known |= imported
        waiting += imported
    return frozenset(known)


@functools.cache
def _imports(module: str) -> frozenset[str]:
    path, package = _file(module), module.partition(".")[0]
    code = SourceFileLoader(module, str(path)).get_code(module)
    names = set(_names(code, package)) if code is not None else set()
    found = {name for name in names if _file(name) is not None}
    return frozenset(found | {parent for name in (module, *found) for parent in _parents(name)})


def _names(code: CodeType, package: str) -> Iterator[str]:
    """Give the modules that `code` may import; y of ``from x import y`` counts as x.y too."""
    # The names after ``from … import`` are a tuple among the constants, and names as well.
    taken = {
        name
        for constant in code.co_consts
        if isinstance(constant, tuple) and set(constant) <= set(code.co_names)
        for name in constant
    }
    for name in code.co_names:
        if name.partition(".")[0] == package:
            yield name
            yield from (f"{name}.{part}" for part in taken)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant, package)


def _parents(module: str) -> Iterator[str]:
    parts = module.split(".")
    return (".".join(parts[:count]) for count in range(1, len(parts)))


def _file(module: str) -> Path | None:
    """Return the source of `module`; None if its package has no such module."""
    return _files(module.partition(".")[0]).get(module)


@functools.cache
def _files(package: str) -> Mapping[str, Path]:
    """Return the sources of all modules of a package.

    They are listed once: most of the names that compiled modules mention are no modules.
    """
    folder = _folder(package)
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*.py")):  # a folder is before a file of the same name
        parts = path.relative_to(folder).with_suffix("").parts
        inside = parts[:-1] if parts[-1] == "__init__" else parts
        found.setdefault(".".join((package, *inside)), path)
    return found


@functools.cache
def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(f"{package} is no package with sources")
    return Path(spec.submodule_search_locations[0])
