"""The verb ``pkg ls``: the named images in the store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from piimage.errors import PiimageError
from piimage.oci import models
from piimage.oci.layout import Layout
from piimage.oci.models import Descriptor, Manifest
from piimage.oci.reference import parse


@dataclass(frozen=True)
class Attached:
    """An artifact that refers to an image: its type, its digest, and that of its subject."""

    type: str
    digest: str
    subject: str


@dataclass(frozen=True)
class Row:
    """A named image; `size` is the bytes of its compressed layers, shared ones counted once."""

    name: str
    tag: str
    digest: str
    platforms: tuple[str, ...]
    size: int
    referrers: tuple[Attached, ...]


def rows(layout: Layout) -> tuple[Row, ...]:
    """Return the named images, sorted by name, without those that were deleted from the store."""
    rows = (_row(layout, name, entry) for name, entry in sorted(layout.names().items()))
    return tuple(row for row in rows if row is not None)


def _row(layout: Layout, name: str, entry: Descriptor) -> Row | None:
    try:
        manifests = list(_manifests(layout, entry))
    except PiimageError as error:
        if error.code == "store.absent":
            return None
        raise
    parts = [part for _, manifest in manifests for part in (manifest.config, *manifest.layers)]
    if not all(layout.store.has(part.blob) for part in parts):
        return None
    reference = parse(name)
    descriptors = [descriptor for descriptor, _ in manifests]
    subjects = [entry, *(other for other in descriptors if other.digest != entry.digest)]
    return Row(
        reference.name,
        reference.tag or "",
        entry.digest,
        tuple(_platform(layout, descriptor, manifest) for descriptor, manifest in manifests),
        sum({part.digest: part.size for _, m in manifests for part in m.layers}.values()),
        tuple(artifact for subject in subjects for artifact in _attached(layout, subject)),
    )


def _manifests(layout: Layout, entry: Descriptor) -> Iterator[tuple[Descriptor, Manifest]]:
    if entry.media_type in models.INDEXES:
        for inner in layout.index(entry).manifests:
            yield inner, layout.manifest(inner)
    else:
        yield entry, layout.manifest(entry)


def _platform(layout: Layout, entry: Descriptor, manifest: Manifest) -> str:
    if entry.platform is not None:
        return str(entry.platform)
    if manifest.config.media_type not in models.CONFIGS:
        return manifest.config.media_type
    return str(layout.image(entry).config.platform)


def _attached(layout: Layout, subject: Descriptor) -> Iterator[Attached]:
    for referrer in layout.referrers(subject):
        kind = referrer.artifact_type or referrer.media_type
        yield Attached(kind, referrer.digest, subject.digest)
