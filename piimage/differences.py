"""What changed between two builds, by their manifests: packages, layers and files."""

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
    """One thing that differs; `before` is None where it is new, `after` where it is gone."""

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
    """A manifest as `differences` needs it: package versions, layer digests and file digests.

    It is not `complete` where files are left out that tell of a secret.
    """

    identity: str
    packages: Mapping[str, str]
    layers: Mapping[str, str]
    files: Mapping[str, str]
    complete: bool = True


def manifest_path(named: Path) -> Path:
    """Return the manifest of an image (``pi4.img`` has ``pi4.manifest.json``), or `named` itself.

    Raises InputError ``diff.no-manifest`` when there is none.
    """
    path = named if named.suffix == ".json" else named.with_suffix(".manifest.json")
    if not path.is_file():
        raise InputError(
            "diff.no-manifest", "there is no manifest", place=str(path),
            hint="name an image with the manifest that `piimage build` wrote beside it",
        )  # fmt: skip
    return path


def read_manifest(path: Path) -> Manifest:
    """Read a manifest; InputError ``diff.bad-manifest`` when it is none."""
    try:
        document = json.loads(path.read_bytes())
        return _manifest(document)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InputError(
            "diff.bad-manifest", "this is no manifest of a build", place=str(path),
            hint="name an image that `piimage build` wrote, or its .manifest.json",
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
    """Return what changed, packages first, each kind in the order of names."""
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
