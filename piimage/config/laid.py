"""Where `files:` lays what it names: in a root that has folders of its own."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Final

from piimage.compose.rules import MERGED
from piimage.config.nodes import MapNode, ScalarNode
from piimage.config.values import quoted
from piimage.errors import InputError
from piimage.tars import MAX_NAME

FOLDERS: Final = frozenset(
    {"bin", "boot", "containers", "data", "dev", "etc", "home", "lib", "media", "mnt", "opt",
     "proc", "root", "run", "sbin", "srv", "sys", "tmp", "usr", "usr/bin", "usr/include", "usr/lib",
     "usr/local", "usr/sbin", "usr/share", "var", "var/cache", "var/lib", "var/log", "var/spool",
     "var/tmp"}
)  # fmt: skip
"""Folders of the system, which a file below them leaves as they are."""


def spelling(path: str) -> str:
    """Return the one spelling of `path`: /lib/x and usr/lib//x are the same file."""
    first, *rest = [part for part in path.split("/") if part not in ("", ".")] or [""]
    return "/".join([MERGED.get(first, first) if rest else first, *rest])


def leading(path: str) -> Iterator[str]:
    """Give the folders above `path`, the highest first."""
    parts = path.split("/")[:-1]
    yield from ("/".join(parts[: depth + 1]) for depth in range(len(parts)))


def laying_errors(entries: Iterable[MapNode]) -> Iterator[InputError]:
    """Give the paths of `files:` where nothing can lie, or no file.

    The later entry of one path counts, as the build has it.
    """
    said = {spelling(node.text): (node, _is_file(one)) for one in entries if (node := _path(one))}
    files = {path for path, (_, is_file) in said.items() if is_file}
    for path, (at, _) in said.items():
        if any(len(os.fsencode(name)) > MAX_NAME for name in path.split("/")):
            yield _error(at, f"a name of over {MAX_NAME} bytes", "a shorter one")
        if path in files & FOLDERS:
            what = f"{quoted(at.text)} is a folder of the system"
            yield _error(at, what, f"a path below it, such as {path}/NAME")
        for above in leading(path):
            if above in files:
                what = f"{quoted(at.text)} lies below {quoted(above)}, which files: makes a file"
                yield _error(at, what, "one of the two, or another name")


def _path(one: MapNode) -> ScalarNode | None:
    path = one.items.get("path")
    return path if isinstance(path, ScalarNode) else None


def _is_file(one: MapNode) -> bool:
    """Say whether the entry is certainly a file: an optional one may not be there."""
    return "optional" not in one.items and bool({"contents", "source", "metadata"} & set(one.items))


def _error(node: ScalarNode, what: str, instead: str) -> InputError:
    return InputError("config.value", what, place=str(node.at), hint=f"instead: {instead}")
