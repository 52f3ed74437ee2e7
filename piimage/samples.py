"""Copies of the container folders, kernel modules and boards that piimage ships, to be changed."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from piimage import durable, host, resources
from piimage.boundary import is_inside
from piimage.errors import InputError

_KINDS: Final[Mapping[str, str]] = {
    "services": "*/service.yml",
    "kernel-modules": "*/module.yml",
    "boards": "*.yml",
}
"""Where each kind of sample lies, below the folder of its name."""
_USES: Final[Mapping[str, str]] = {
    "services": "name it in an entry of services: build: {}",
    "kernel-modules": "name it under modules: {{ build: {} }}",
    "boards": "name it in the file beside the folder: board:",
}

# Tests belong to piimage, and a Dockerfile's context is piimage's source: a copy has neither.
_LEFT_OUT: Final = ("__pycache__", "tests", "*.egg-info", "*.lock", "Dockerfile")
_PATH_UP: Final = re.compile(r"(?<=[\s\[,])(?:\.\./)+[\w./-]+")


def names() -> tuple[str, ...]:
    """Return the names of all samples: ``services/bmp280``, ``boards/pi4``, in order."""
    return tuple(sorted(name for kind in _KINDS for name in _names_of(kind)))


def copy(name: str, target: Path | None) -> Path:
    """Copy the sample `name` to `target`, completely or not at all; return the target.

    Without a target, a folder gets its own name in the working folder, and a board lands in
    ``boards/``, where piimage finds it. Files from outside of the folder that it uses come into the
    copy, and its service.yml names them there. Raises InputError ``config.no-sample`` and
    ``config.exists``, and the errors of the host.
    """
    if name not in names():
        raise InputError(
            "config.no-sample",
            f"piimage has no {name}",
            hint=f"there are: {', '.join(names())}",
        )
    kind, _, word = name.partition("/")
    if kind == "boards":
        return _copy_board(word, target or Path("boards", f"{word}.yml"))
    return _copy_folder(resources.path(kind) / word, target or Path(word))


def use_of(name: str, copied: Path) -> str:
    """Return what a user does with a copy of the sample `name`."""
    return _USES[name.partition("/")[0]].format(copied)


def _names_of(kind: str) -> Iterator[str]:
    for path in resources.path(kind).glob(_KINDS[kind]):
        yield f"{kind}/{path.stem if path.parent.name == kind else path.parent.name}"


def _copy_board(word: str, target: Path) -> Path:
    data = (resources.path("boards") / f"{word}.yml").read_bytes()
    with host.writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            durable.create(target, data)
        except FileExistsError:
            raise _exists(target) from None
    return target


def _copy_folder(source: Path, target: Path) -> Path:
    if os.path.lexists(target):
        raise _exists(target)
    with (
        host.writing(target),
        tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as scratch,
    ):
        draft = Path(scratch, target.name)
        _copy_tree(source, draft)
        _bring_in(source, draft)
        draft.rename(target)
    return target


def _copy_tree(source: Path, target: Path) -> None:
    target.mkdir()
    for entry in sorted(source.iterdir()):
        if any(entry.match(pattern) for pattern in _LEFT_OUT):
            continue
        if entry.is_dir():
            _copy_tree(entry, target / entry.name)
        else:
            shutil.copyfile(entry, target / entry.name)


def _bring_in(source: Path, draft: Path) -> None:
    """Copy what the folder's service.yml uses from outside of it, and rename it there."""
    settings = draft / "service.yml"
    if not settings.exists():
        return

    def inside(match: re.Match[str]) -> str:
        path = Path(os.path.normpath(source / match[0]))
        if not path.exists() or not is_inside(path, source.parents[1]):
            return match[0]  # a link within the container
        if path.is_dir():
            _copy_tree(path, draft / path.name)
        else:
            shutil.copyfile(path, draft / path.name)
        return path.name

    settings.write_text(_PATH_UP.sub(inside, settings.read_text()))


def _exists(target: Path) -> InputError:
    return InputError(
        "config.exists",
        "the file or folder exists already",
        place=str(target),
        hint="give another name, or remove it first",
    )
