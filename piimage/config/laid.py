"""Paths of `files:`: their normal form, and the folders that no file may replace."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Final

from piimage.tars import MAX_NAME
from piimage.trees import MERGED

_NEEDED: Final = frozenset(
    {"containers", "data", "dev", "etc", "proc", "run", "sys", "usr", "usr/bin", "usr/lib",
     "usr/sbin", "var"}
)  # fmt: skip
"""Folders that the system needs to start."""


def normal_path(path: str) -> str:
    """Return the normal form of `path`: /lib/x and usr/lib//x are the same file."""
    first, *rest = [part for part in path.split("/") if part not in ("", ".")]
    return "/".join([MERGED.get(first, first), *rest])


def leading(path: str) -> Iterator[str]:
    """Give the parent folders of a normal `path`, the highest first."""
    parts = path.split("/")[:-1]
    yield from ("/".join(parts[: depth + 1]) for depth in range(len(parts)))


def misplaced(folders: Mapping[str, bool]) -> Iterator[tuple[str, str]]:
    """Give each normal path that nothing can be put at, and the reason.

    `folders` maps each path to whether it is a folder.
    """
    for path, is_folder in folders.items():
        if any(len(os.fsencode(name)) > MAX_NAME for name in path.split("/")):
            yield path, f"a name in it has more than {MAX_NAME} bytes"
        if path in _NEEDED and not is_folder:
            yield path, f"the system needs the folder /{path}"
        file = next((parent for parent in leading(path) if not folders.get(parent, True)), None)
        if file is not None:
            yield path, f"it lies below /{file}, which is not a folder in this file"
