"""An OCI image layout over the store: images by name and digest, referrers, platform choice.

Source: OCI image-spec 1.1, image-layout.md. The store keeps its blobs where a layout has them;
``oci-layout`` and ``index.json`` beside them make the store's folder one.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from piimage.errors import PiimageError
from piimage.oci import models
from piimage.oci.models import Descriptor, ImageConfig, Index, Manifest, Platform
from piimage.store import Blob, Store

MARKER: Final = models.canonical_json({"imageLayoutVersion": "1.0.0"})
_INDEX: Final = "index.json"
_LOCK: Final = "oci-index"
_MAX_NESTING: Final = 4
_EMPTY: Final = b"{}"


@dataclass(frozen=True)
class Image:
    """An image for one platform; its documents are in the store."""

    descriptor: Descriptor
    manifest: Manifest
    config: ImageConfig

    @property
    def blobs(self) -> tuple[Blob, ...]:
        """Manifest, configuration and layers."""
        parts = (self.descriptor, self.manifest.config, *self.manifest.layers)
        return tuple(part.blob for part in parts)

    @property
    def layers(self) -> tuple[tuple[Descriptor, str], ...]:
        """Each layer with the digest of its unpacked tar, lowest first."""
        return tuple(zip(self.manifest.layers, self.config.rootfs.diff_ids, strict=True))


class Layout:
    """The images of a store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    # --- documents

    def write_config(self, config: ImageConfig) -> Descriptor:
        """Store an image configuration."""
        return self._write(models.CONFIG, config)

    def write_manifest(self, manifest: Manifest) -> Descriptor:
        """Store a manifest."""
        written = self._write(models.MANIFEST, manifest)
        return written.model_copy(update={"artifact_type": manifest.artifact_type})

    def write_index(self, index: Index) -> Descriptor:
        """Store an index of several platforms."""
        return self._write(models.INDEX, index)

    def write_image(self, config: ImageConfig, layers: Sequence[Descriptor]) -> Image:
        """Store an image of `layers` (already in the store) and describe it by its platform."""
        manifest = Manifest(config=self.write_config(config), layers=tuple(layers))
        return self.image(self.write_manifest(manifest))

    def document(self, descriptor: Descriptor) -> bytes:
        """Return the verified bytes of a document; raises PiimageError ``store.absent``."""
        if descriptor.size > models.MAX_DOCUMENT:
            raise models.damaged(f"it is too large ({descriptor.size} bytes)", descriptor.digest)
        return self._verified(descriptor).read_bytes()

    def manifest(self, descriptor: Descriptor) -> Manifest:
        """Read a manifest."""
        return models.decode(Manifest, self.document(descriptor), descriptor.digest)

    def index(self, descriptor: Descriptor) -> Index:
        """Read an index."""
        return models.decode(Index, self.document(descriptor), descriptor.digest)

    def image(self, descriptor: Descriptor) -> Image:
        """Read an image's manifest and configuration, and check that they match.

        Raises PiimageError ``oci.not-an-image`` for another artifact, ``oci.document`` for a
        damaged document.
        """
        manifest = self.manifest(descriptor)
        if manifest.config.media_type not in models.CONFIGS:
            raise PiimageError(
                "oci.not-an-image",
                f"this is not a container image but {manifest.config.media_type}",
                place=descriptor.digest,
                hint="name an image; a chart, a signature or another artifact cannot be run",
            )
        place = manifest.config.digest
        config = models.decode(ImageConfig, self.document(manifest.config), place)
        if len(manifest.layers) != len(config.rootfs.diff_ids):
            raise models.damaged(
                f"the manifest lists {len(manifest.layers)} layers, "
                f"its configuration {len(config.rootfs.diff_ids)}",
                descriptor.digest,
            )
        described = descriptor.model_copy(update={"platform": config.platform})
        return Image(described, manifest, config)

    def complete(self, image: Image) -> Image:
        """Return `image` after comparing every blob with its digest and size."""
        for part in (image.manifest.config, *image.manifest.layers):
            self._verified(part)
        return image

    def _verified(self, descriptor: Descriptor) -> Path:
        path = self.store.verified(descriptor.blob)
        size = path.stat().st_size
        if size != descriptor.size:
            raise models.damaged(f"it has {size} bytes, not {descriptor.size}", descriptor.digest)
        return path

    def _write(self, media_type: str, document: ImageConfig | Manifest | Index) -> Descriptor:
        return Descriptor.of(media_type, self.store.add_bytes(models.encode(document)))

    # --- names

    def names(self) -> Mapping[str, Descriptor]:
        """Return the named descriptors by name."""
        named: dict[str, Descriptor] = {}
        for entry in self._top().manifests:
            name = (entry.annotations or {}).get(models.REF_NAME)
            if name is not None:
                named[name] = entry
        return named

    def set_name(self, name: str, descriptor: Descriptor) -> None:
        """Assign `name` to `descriptor`."""
        notes = {**(descriptor.annotations or {}), models.REF_NAME: name}
        entry = descriptor.model_copy(update={"annotations": notes})
        self._change(lambda known: [*_without(known, name), entry])

    def rename(self, name: str, descriptor: Descriptor, outdated: Callable[[str], bool]) -> None:
        """Assign `name` to `descriptor`, and remove `outdated` names and detached artifacts.

        An artifact is detached if no name leads to its subject any more. Blobs stay until the
        store is cleaned.
        """
        notes = {**(descriptor.annotations or {}), models.REF_NAME: name}
        entry = descriptor.model_copy(update={"annotations": notes})

        def change(known: Iterable[Descriptor]) -> list[Descriptor]:
            kept = [old for old in known if _name(old) != name and not outdated(_name(old))]
            return self._attached([*kept, entry])

        self._change(change)

    def _attached(self, entries: Sequence[Descriptor]) -> list[Descriptor]:
        """Return `entries` without the artifacts whose subject none of them names."""
        subjects: set[str | None] = {None}
        for entry in entries:
            subjects |= self._means(entry) if _name(entry) else set()
        return [entry for entry in entries if _name(entry) or self._subject(entry) in subjects]

    def _means(self, entry: Descriptor) -> set[str | None]:
        if entry.media_type not in models.INDEXES or not self.store.has(entry.blob):
            return {entry.digest}
        return {entry.digest, *(inner.digest for inner in self.index(entry).manifests)}

    def _subject(self, entry: Descriptor) -> str:
        if entry.media_type not in models.MANIFESTS or not self.store.has(entry.blob):
            return ""
        subject = self.manifest(entry).subject
        return subject.digest if subject else ""

    def drop_name(self, name: str) -> None:
        """Remove `name`; its blobs stay until the store is cleaned."""
        self._change(lambda known: _without(known, name))

    def _top(self) -> Index:
        path = self.store.root / _INDEX
        if not path.exists():
            return Index(manifests=())
        return models.decode(Index, path.read_bytes(), str(path))

    def _change(self, change: Callable[[Iterable[Descriptor]], list[Descriptor]]) -> None:
        with self.store.lock(_LOCK):
            entries = top_index(change(self._top().manifests))
            self.store.write_beside(self.store.root / "oci-layout", MARKER)
            self.store.write_beside(self.store.root / _INDEX, models.encode(entries))

    # --- referrers

    def attach(
        self,
        subject: Descriptor,
        artifact_type: str,
        contents: Sequence[Descriptor],
        annotations: Mapping[str, str] | None = None,
    ) -> Descriptor:
        """Attach an artifact (an SBOM) of blobs in the store to `subject`.

        It takes the place of the artifacts of its type: an image that is the same again after
        another commit has one bill, so that what is exported does not depend on earlier builds.
        Source: manifest.md, "Guidelines for Artifact Usage".
        """
        empty = Descriptor.of(models.EMPTY, self.store.add_bytes(_EMPTY))
        manifest = Manifest(
            artifact_type=artifact_type,
            config=empty,
            layers=tuple(contents),
            subject=Descriptor.of(subject.media_type, subject.blob),
            annotations=dict(annotations) if annotations else None,
        )
        written = self.write_manifest(manifest)

        def is_replaced(entry: Descriptor) -> bool:
            return entry.artifact_type == artifact_type and self._subject(entry) == subject.digest

        self._change(lambda known: [*(e for e in known if not is_replaced(e)), written])
        return written

    def take_referrers(self, referrers: Sequence[Descriptor]) -> None:
        """Add `referrers`, whose blobs are in the store, to the index, to be found by subject."""
        new = {entry.digest for entry in referrers}
        if new:
            self._change(lambda known: [*(e for e in known if e.digest not in new), *referrers])

    def referrers(self, subject: Descriptor) -> tuple[Descriptor, ...]:
        """Return the artifacts attached to `subject`, in the order of their digests."""
        return self.attached((subject.digest,))

    def attached(self, subjects: Container[str]) -> tuple[Descriptor, ...]:
        """Return the artifacts attached to any of `subjects`, in the order of their digests."""
        found = {e.digest: e for e in self._top().manifests if self._subject(e) in subjects}
        return tuple(found[digest] for digest in sorted(found))

    # --- platforms

    def choose(self, descriptor: Descriptor, platform: Platform = models.ARM64) -> Image:
        """Return the image for `platform` in `descriptor`, which is an index or a manifest.

        Raises PiimageError ``oci.wrong-platform``, which names the available platforms.
        """
        for _ in range(_MAX_NESTING):
            if descriptor.media_type not in models.INDEXES:
                return require_platform(self.image(descriptor), platform)
            descriptor = choose_manifest(self.index(descriptor), platform, descriptor.digest)
        raise models.damaged("its indexes are nested too deeply", descriptor.digest)


def top_index(entries: Iterable[Descriptor]) -> Index:
    """Return a layout's ``index.json``, whose order does not depend on the order of additions."""

    def order(entry: Descriptor) -> tuple[str, str]:
        return _name(entry), entry.digest

    return Index(manifests=tuple(sorted(entries, key=order)))


def choose_manifest(index: Index, platform: Platform, place: str) -> Descriptor:
    """Return the entry of `index` that fits `platform` best.

    An entry that does not say its platform is taken only when it is the only one (its
    configuration is checked later); attestations (``unknown/unknown``) are never taken.
    """
    stated = [entry for entry in index.manifests if entry.platform is not None]
    fitting = [entry for entry in stated if entry.platform and fits(entry.platform, platform)]
    if fitting:
        exact = [entry for entry in fitting if entry.platform == platform]
        return (exact or fitting)[0]
    if not stated and len(index.manifests) == 1:
        return index.manifests[0]
    platforms = [str(entry.platform) for entry in stated if _is_known(entry.platform)]
    raise wrong_platform(platform, platforms, place)


def fits(offered: Platform, wanted: Platform) -> bool:
    """Return whether programs for `offered` run on `wanted`; no variant means the default one."""
    return (
        offered.os == wanted.os
        and offered.architecture == wanted.architecture
        and (offered.variant or None) in (None, wanted.variant)
    )


def require_platform(image: Image, platform: Platform) -> Image:
    """Return `image` if it is for `platform`, else raise ``oci.wrong-platform``."""
    if not fits(image.config.platform, platform):
        platforms = [str(image.config.platform)]
        raise wrong_platform(platform, platforms, image.descriptor.digest)
    return image


def wrong_platform(wanted: Platform, platforms: Sequence[str], place: str) -> PiimageError:
    """Return the error for an image that is not for `wanted`."""
    offered = ", ".join(dict.fromkeys(platforms)) or "a platform that it does not state"
    return PiimageError(
        "oci.wrong-platform",
        f"the image is for {offered}, and a Raspberry Pi needs {wanted}"
        if wanted == models.ARM64
        else f"the image is for {offered}, not for {wanted}",
        place=place,
        hint=f"use a tag that was built for {wanted.os}/{wanted.architecture}, "
        "or build the image from a folder with `build:`",
    )


def _is_known(platform: Platform | None) -> bool:
    return platform is not None and platform.os != "unknown"


def _without(entries: Iterable[Descriptor], name: str) -> list[Descriptor]:
    return [entry for entry in entries if _name(entry) != name]


def _name(entry: Descriptor) -> str:
    return (entry.annotations or {}).get(models.REF_NAME, "")
