"""Where `files:` lays things: one spelling of a path, and what nothing may replace."""

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
"""Folders without which the system does not start."""


def spelled(path: str) -> str:
    """Return the one spelling of `path`: /lib/x and usr/lib//x are the same file."""
    first, *rest = [part for part in path.split("/") if part not in ("", ".")]
    return "/".join([MERGED.get(first, first), *rest])


def leading(path: str) -> Iterator[str]:
    """Give the folders on the way to a spelled `path`, the highest first."""
    parts = path.split("/")[:-1]
    yield from ("/".join(parts[: depth + 1]) for depth in range(len(parts)))


def misplaced(folders: Mapping[str, bool]) -> Iterator[tuple[str, str]]:
    """Give each spelled path that cannot be laid there, and why.

    `folders` says of each path whether it is a folder.
    """
    for path, is_folder in folders.items():
        if any(len(os.fsencode(name)) > MAX_NAME for name in path.split("/")):
            yield path, f"it has a name of over {MAX_NAME} bytes"
        if path in _NEEDED and not is_folder:
            yield path, f"/{path} is a folder that the system needs"
        above = next((one for one in leading(path) if not folders.get(one, True)), None)
        if above is not None:
            yield path, f"it lies below /{above}, which is no folder in this file"
