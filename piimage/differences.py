"""Compares the manifests of two builds: packages, layers and files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from piimage.errors import InputError

_LAYER = "layer:"


@dataclass(frozen=True)
class Change:
    """A difference; `before` is None if the entry was added, `after` if it was removed."""

    kind: str
    name: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        sign = "+" if self.before is None else "-" if self.after is None else "~"
        values = " -> ".join(value for value in (self.before, self.after) if value is not None)
        return f"{sign} {self.kind} {self.name} {values}".rstrip()


@dataclass(frozen=True)
class Manifest:
    """The parts of a manifest that are compared: package versions, layer and file digests.

    A manifest that omits files whose digest would reveal a secret is not `complete`.
    """

    identity: str
    packages: Mapping[str, str]
    layers: Mapping[str, str]
    files: Mapping[str, str]
    complete: bool = True


def manifest_path(named: Path) -> Path:
    """Return the manifest of an image (``pi4.manifest.json`` for ``pi4.img``), or `named` itself.

    Raises InputError ``diff.no-manifest`` if it does not exist.
    """
    path = named if named.suffix == ".json" else named.with_suffix(".manifest.json")
    if not path.is_file():
        raise InputError(
            "diff.no-manifest", "there is no such manifest", place=str(path),
            hint="give an image with the manifest that `piimage build` wrote beside it",
        )  # fmt: skip
    return path


def read_manifest(path: Path) -> Manifest:
    """Read a manifest; raise InputError ``diff.bad-manifest`` if it is not valid."""
    try:
        document = json.loads(path.read_bytes())
        return _manifest(document)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InputError(
            "diff.bad-manifest", "this is not the manifest of a build", place=str(path),
            hint="give an image that `piimage build` wrote, or its .manifest.json",
        ) from None  # fmt: skip


def _manifest(document: Mapping[str, Any]) -> Manifest:
    files: dict[str, str] = {}
    layers: dict[str, str] = {}
    packages: dict[str, str] = {}
    for path, fields in document["files"].items():
        digest, source = str(fields["sha256"])[:12], str(fields["from"])
        if source.startswith(_LAYER):
            layers[source.removeprefix(_LAYER)] = digest
        else:
            files[path] = digest
        packages |= dict(_package(url) for url in source.split() if url.startswith("pkg:"))
    complete = document.get("complete", True) is True
    return Manifest(str(document["identity"]), packages, layers, files, complete)


def _package(url: str) -> tuple[str, str]:
    """Return name and version of a package URL."""
    name, _, version = url.partition("?")[0].rpartition("@")
    return unquote(name.rpartition("/")[2]), unquote(version)


def differences(before: Manifest, after: Manifest) -> tuple[Change, ...]:
    """Return the changes of packages, layers and files, each sorted by name."""
    return (
        *_changes("package", before.packages, after.packages),
        *_changes("layer", before.layers, after.layers),
        *_changes("file", before.files, after.files),
    )


def _changes(kind: str, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Change]:
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old != new:
            yield Change(kind, name, old, new)
