"""Pulls images from registries and pushes them with skopeo; every received byte is verified.

Logins are those of ``skopeo login`` and ``docker login``: skopeo finds its auth file. A pull stores
the registry's bytes unchanged, so that digests stay the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from piimage.errors import PiimageError
from piimage.oci import models
from piimage.oci.complaints import explain
from piimage.oci.layout import (
    MARKER,
    Image,
    Layout,
    choose_manifest,
    fits,
    require_platform,
    top_index,
    wrong_platform,
)
from piimage.oci.models import ARM64, Descriptor, Index, Manifest, Platform
from piimage.oci.reference import Reference
from piimage.run import REGISTRIES, Completed, Runner
from piimage.store import Blob

_MAX_NESTING: Final = 4
_TAG_OF_REFERRERS: Final = "sha256-{}"


@dataclass(frozen=True)
class Access:
    """Settings for registries in addition to the host's own.

    `insecure` are registries (host or host:port) whose certificate is not checked and that may use
    plain HTTP; `certificates` is a folder with a CA (``*.crt``); `auth_file` has the logins.
    """

    insecure: frozenset[str] = field(default_factory=frozenset)
    certificates: Path | None = None
    auth_file: Path | None = None

    def options(self, reference: Reference, side: str = "") -> list[str]:
        """Return skopeo's options for `reference`; `side` is "", "src-" or "dest-"."""
        options = []
        if reference.registry in self.insecure:
            options.append(f"--{side}tls-verify=false")
        if self.certificates is not None:
            options.append(f"--{side}cert-dir={self.certificates}")
        if self.auth_file is not None:
            options.append(f"--{side}authfile={self.auth_file}")
        return options


@dataclass(frozen=True)
class Resolved:
    """The present meaning of a reference: the digests that a lock file pins.

    `reference` has the digest of the named index or manifest; `manifest` is its image for
    `platform`, of which `layers` are the compressed layers, lowest first.
    """

    reference: Reference
    manifest: Descriptor
    config: Descriptor
    layers: tuple[Descriptor, ...]
    platform: Platform


@dataclass(frozen=True)
class Registry:
    """Transfers between registries and a layout."""

    layout: Layout
    runner: Runner
    access: Access = field(default_factory=Access)

    def resolve(self, reference: Reference, platform: Platform = ARM64) -> Resolved:
        """Resolve `reference` for `platform` at its registry; fetches only documents.

        Raises PiimageError ``oci.no-image``, ``oci.unreachable``, ``oci.refused``, ``oci.tls``,
        ``oci.plain-http``, ``oci.rate-limit``, ``oci.digest-mismatch``, ``oci.registry``,
        ``oci.wrong-platform``, ``oci.not-an-image``, ``oci.document``.
        """
        top = self._fetch_document(reference)
        manifest = top
        for _ in range(_MAX_NESTING):
            if manifest.media_type not in models.INDEXES:
                break
            index = self.layout.index(manifest)
            chosen = choose_manifest(index, platform, str(reference))
            manifest = self._fetch_document(reference.at(chosen.digest))
        image = self._with_config(reference.at(manifest.digest), manifest)
        if not fits(image.config.platform, platform):
            raise wrong_platform(platform, [str(image.config.platform)], str(reference))
        return Resolved(
            reference.at(top.digest),
            image.descriptor,
            image.manifest.config,
            image.manifest.layers,
            image.config.platform,
        )

    def pull(self, reference: Reference, platform: Platform = ARM64) -> Image:
        """Pull the image that `reference` names by digest into the layout, and verify it.

        The digest is that of the image or of an index with the image. Blobs that the store has
        are not fetched. Raises the errors of `resolve`, and ``store.altered`` for a damaged blob.
        """
        if reference.digest is None:
            raise ValueError(f"{reference} has no digest")
        resolved = self.resolve(reference, platform)
        exact = reference.at(resolved.manifest.digest)
        image = self.layout.image(resolved.manifest)
        if not all(self.layout.store.has(blob) for blob in image.blobs):
            self._copy_layers(exact, image)
        return self.layout.complete(require_platform(image, platform))

    def stored(self, reference: Reference, platform: Platform = ARM64) -> Image | None:
        """Return the image if the store has all of it; the registry is not contacted."""
        image = self.described(reference, platform)
        if image is None or not all(self.layout.store.has(blob) for blob in image.blobs):
            return None
        return self.layout.complete(image)

    def described(self, reference: Reference, platform: Platform = ARM64) -> Image | None:
        """Return the image if the store has its documents; the registry is not contacted."""
        if reference.digest is None:
            return None
        blob = self._known(reference.digest)
        if blob is None:
            return None
        data = self.layout.store.verified(blob).read_bytes()
        described = Descriptor.of(_media_type(data, str(reference)), blob)
        try:
            return self.layout.choose(described, platform)
        except PiimageError as error:
            if error.code == "store.absent":
                return None
            raise

    def push(self, reference: Reference, descriptor: Descriptor) -> Reference:
        """Push `descriptor` with its referrers; of an index, push every platform.

        Referrers get the tag that clients read if a registry has no referrers API
        (distribution-spec 1.1, "Referrers Tag Schema"). Returns the reference with the digest.
        """
        self._push_one(replace(reference, digest=None), descriptor)
        pushed = reference.at(descriptor.digest)
        subjects = [descriptor]
        if descriptor.media_type in models.INDEXES:
            subjects += self.layout.index(descriptor).manifests
        for subject in subjects:
            self._push_referrers(reference, subject)
        return pushed

    def push_list(self, reference: Reference, entries: Sequence[Descriptor]) -> Reference:
        """Push an index of manifests that the registry has; return the reference with its digest.

        Raises the errors of `resolve`.
        """
        index = self.layout.write_index(Index(manifests=tuple(entries)))
        target = replace(reference, digest=None)
        self._push_one(target, index, ("--preserve-digests", "--multi-arch=index-only"))
        return reference.at(index.digest)

    def pull_referrers(self, reference: Reference, subject: Descriptor) -> tuple[Descriptor, ...]:
        """Pull the artifacts that are attached to `subject` in the repository of `reference`.

        They are found by the tag that `push` writes. Raises the errors of `resolve`.
        """
        tag = _TAG_OF_REFERRERS.format(subject.blob.sha256)
        listed = self._listed(Reference(reference.registry, reference.repository, tag))
        found = tuple(self._pull_artifact(reference.at(entry.digest)) for entry in listed)
        self.layout.take_referrers(found)
        return found

    def _pull_artifact(self, exact: Reference) -> Descriptor:
        described = self._fetch_document(exact)
        manifest = self.layout.manifest(described)
        parts = [part.blob for part in (manifest.config, *manifest.layers)]
        if not all(self.layout.store.has(blob) for blob in parts):
            with self.layout.store.scratch() as scratch:
                source = f"docker://{exact.transport}"
                options = ["copy", "-q", *self.access.options(exact, "src-")]
                self._run([*options, source, f"dir:{scratch}"], exact)
                self._adopt(scratch, parts)
        for part in (manifest.config, *manifest.layers):
            self.layout.store.verified(part.blob)
        return described.model_copy(update={"artifact_type": manifest.artifact_type})

    # --- documents

    def _fetch_document(self, reference: Reference) -> Descriptor:
        """Fetch a manifest or index into the store, unless the store has it."""
        if reference.digest is not None:
            known = self._known(reference.digest)
            if known is not None:
                data = self.layout.store.verified(known).read_bytes()
                return Descriptor.of(_media_type(data, str(reference)), known)
        data = self._skopeo(reference, ["inspect", "--raw", *self.access.options(reference)])
        found = f"sha256:{hashlib.sha256(data).hexdigest()}"
        if reference.digest not in (None, found):
            raise mismatch(reference, found)
        media_type = _media_type(data, str(reference))
        return Descriptor.of(media_type, self.layout.store.add_bytes(data))

    def _known(self, digest: str) -> Blob | None:
        sha256 = digest.removeprefix("sha256:")
        path = self.layout.store.path(Blob(sha256, 0))
        if not path.exists() or path.stat().st_size > models.MAX_DOCUMENT:
            return None
        return Blob(sha256, path.stat().st_size)

    def _with_config(self, exact: Reference, described: Descriptor) -> Image:
        config = self.layout.manifest(described).config
        if not self.layout.store.has(config.blob) and config.media_type in models.CONFIGS:
            options = ["inspect", "--config", "--raw", *self.access.options(exact)]
            data = self._skopeo(exact, options)
            if f"sha256:{hashlib.sha256(data).hexdigest()}" != config.digest:
                raise mismatch(exact, f"another configuration than {config.digest}")
            self.layout.store.add_bytes(data)
        return self.layout.image(described)

    def _skopeo(self, reference: Reference, words: Sequence[str]) -> bytes:
        return self._run([*words, f"docker://{reference.transport}"], reference).stdout

    def _run(self, words: Sequence[str], reference: Reference) -> Completed:
        # skopeo also uses exit codes above 1; each one is a failure.
        done = self.runner.passing(REGISTRIES).run(["skopeo", *words], accept=range(256))
        if done.status != 0:
            raise explain(done.stderr.decode(errors="replace"), reference)
        return done

    # --- layers

    def _copy_layers(self, exact: Reference, image: Image) -> None:
        """Fetch the blobs that the store lacks.

        An image in OCI form is copied with the store as its blob folder, so that skopeo skips the
        blobs in it; an image in Docker's form is copied through a folder that keeps its bytes.
        """
        options = ["copy", "-q", *self.access.options(exact, "src-")]
        source = f"docker://{exact.transport}"
        with self.layout.store.scratch() as scratch:
            if image.manifest.media_type == models.MANIFEST and _is_oci(image.manifest):
                target = [f"--dest-shared-blob-dir={self.layout.store.root / 'blobs'}"]
                words = [*options, "--preserve-digests", *target, source, f"oci:{scratch}:image"]
                self._run(words, exact)
            else:
                self._run([*options, source, f"dir:{scratch}"], exact)
                self._adopt(scratch, image.blobs)

    def _adopt(self, folder: Path, blobs: Iterable[Blob]) -> None:
        for blob in blobs:
            path = folder / blob.sha256
            if path.exists() and not self.layout.store.has(blob):
                self.layout.store.add_file(path)

    # --- pushing

    def _push_referrers(self, reference: Reference, subject: Descriptor) -> None:
        """Push the artifacts attached to `subject`, then their list.

        Artifacts of other people stay in the registry's list.
        """
        referrers = self.layout.referrers(subject)
        if not referrers:
            return
        tag = _TAG_OF_REFERRERS.format(subject.blob.sha256)
        target = Reference(reference.registry, reference.repository, tag)
        listed = self._listed(target)
        known = {entry.digest for entry in listed}
        missing = [referrer for referrer in referrers if referrer.digest not in known]
        for referrer in missing:
            plain = Reference(reference.registry, reference.repository, digest=referrer.digest)
            self._push_one(plain, referrer)
        if missing:
            self._push_list(target, (*listed, *missing))

    def _listed(self, target: Reference) -> tuple[Descriptor, ...]:
        """Return the registry's list of referrers; empty if there is none."""
        try:
            found = self._fetch_document(target)
        except PiimageError as error:
            if error.code != "oci.no-image":
                raise
            return ()
        if found.media_type not in models.INDEXES:
            return ()
        return self.layout.index(found).manifests

    def _push_list(self, target: Reference, entries: Sequence[Descriptor]) -> None:
        ordered = tuple(sorted(entries, key=lambda entry: entry.digest))
        listed = self.layout.write_index(Index(manifests=ordered))
        alone = ("--multi-arch=index-only",)
        try:
            self._push_one(target, listed, ("--preserve-digests", *alone))
        except PiimageError as error:
            if error.code != "oci.registry":
                raise
            # skopeo 1.9 drops artifactType from the list; it is read from the artifacts instead.
            self._push_one(target, listed, alone)

    def _push_one(
        self,
        reference: Reference,
        descriptor: Descriptor,
        care: Sequence[str] = ("--preserve-digests", "--all"),
    ) -> None:
        with self._offered(descriptor) as scratch:
            words = ["copy", "-q", *care, *self.access.options(reference, "dest-")]
            words.append(f"--src-shared-blob-dir={self.layout.store.root / 'blobs'}")
            self._run([*words, f"oci:{scratch}", f"docker://{reference.transport}"], reference)

    @contextmanager
    def _offered(self, descriptor: Descriptor) -> Iterator[Path]:
        """Give a layout that has only `descriptor` and uses the store's blobs."""
        with self.layout.store.scratch() as scratch:
            (scratch / "oci-layout").write_bytes(MARKER)
            plain = Descriptor.of(descriptor.media_type, descriptor.blob)
            (scratch / "index.json").write_bytes(models.encode(top_index([plain])))
            yield scratch


def _is_oci(manifest: Manifest) -> bool:
    return manifest.config.media_type == models.CONFIG


def _media_type(data: bytes, place: str) -> str:
    """Return the media type of a manifest or index: the stated one, or else by its fields."""
    fields = models.decode_json(data, place)
    stated = fields.get("mediaType")
    if stated in models.MANIFESTS | models.INDEXES:
        return str(stated)
    if stated is None and "manifests" in fields:
        return models.INDEX
    if stated is None and "layers" in fields:
        return models.MANIFEST
    if fields.get("schemaVersion") == 1:
        raise models.damaged("it has the obsolete schema version 1 of 2014", place)
    raise models.damaged(f"{stated!r} is not a media type of an image", place)


def mismatch(reference: Reference, found: str) -> PiimageError:
    """Return the error for a registry that sent something other than the requested content."""
    return PiimageError(
        "oci.digest-mismatch",
        f"the registry sent {found} for {reference}",
        place=str(reference),
        hint="retry; the registry or a proxy altered the image, and nothing of it was stored",
    )
