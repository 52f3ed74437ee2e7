"""Exports images from the store as an OCI layout folder or oci-archive, and imports them.

Source: OCI image-spec 1.1, image-layout.md; an oci-archive is the tar of a layout.

``index.json`` lists only the images: the library containers/image (of skopeo, podman and buildah)
opens an archive by its file name alone only if the archive has one entry. The artifacts attached to
the images are listed in a second index, which an annotation of ``index.json`` names. An archive
also has Docker's ``manifest.json`` for the same blobs, as `docker save` writes it, because
`docker load` reads nothing else.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import IO, Final

from piimage import host
from piimage.durable import PUBLIC, temporary_folder, write_chunks
from piimage.errors import InputError, PiimageError
from piimage.oci import models
from piimage.oci.layout import MARKER, Layout, top_index
from piimage.oci.models import Descriptor, Index, Manifest
from piimage.oci.reference import parse
from piimage.store import CHUNK, Blob, BlobWriter
from piimage.trees import Entry, Kind, file, folder, read_tar, tar_chunks

REFERRERS: Final = "piimage.referrers"
"""The annotation of ``index.json`` with the digest of the index of attached artifacts."""

_BLOBS: Final = "blobs/sha256"
_MAX_NESTING: Final = 4
_MAX_BLOBS: Final = 10_000


def export_folder(layout: Layout, images: Mapping[str, Descriptor], target: Path) -> None:
    """Write `images` (by name) as an OCI layout into the new folder `target`."""
    if target.exists():
        raise InputError(
            "oci.exists",
            "the folder already exists",
            place=str(target),
            hint="name a new folder, or delete this one",
        )
    with host.writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        _export_folder(layout, images, target)


def _export_folder(layout: Layout, images: Mapping[str, Descriptor], target: Path) -> None:
    with temporary_folder(target.parent, f".{target.name}.") as scratch:
        draft = scratch / target.name
        draft.mkdir()
        draft.chmod(0o755)
        for entry in _layout_tree(layout, images):
            path = draft / entry.path
            if entry.kind is Kind.DIRECTORY:
                path.mkdir()
                path.chmod(0o755)
            else:
                with path.open("wb") as out:
                    out.writelines(entry.content())
                path.chmod(0o644)
        draft.rename(target)


def export_archive(
    layout: Layout, images: Mapping[str, Descriptor], target: Path, mode: int = PUBLIC
) -> None:
    """Write `images` (by name) as an oci-archive; the same images give the same bytes."""
    tree = chain([_for_docker(layout, images)], _layout_tree(layout, images))
    write_chunks(target, tar_chunks(tree), mode)


def _layout_tree(layout: Layout, images: Mapping[str, Descriptor]) -> Iterator[Entry]:
    blobs: dict[str, Blob] = {}
    entries = []
    for name, descriptor in images.items():
        notes = {**(descriptor.annotations or {}), models.REF_NAME: name}
        entries.append(descriptor.model_copy(update={"annotations": notes}))
        blobs |= _reachable(layout, descriptor)
    top, lists = top_index(entries), []
    if attached := layout.attached(blobs):
        listed = models.encode(Index(manifests=attached))
        digest = hashlib.sha256(listed).hexdigest()
        top = top.model_copy(update={"annotations": {REFERRERS: f"sha256:{digest}"}})
        lists = [file(f"{_BLOBS}/{digest}", listed)]
    for referrer in attached:
        blobs |= _reachable(layout, referrer)
    yield file("oci-layout", MARKER)
    yield file("index.json", models.encode(top))
    yield folder("blobs")
    yield folder(_BLOBS)
    yield from lists
    for digest in sorted(blobs):
        blob = blobs[digest]
        path = layout.store.verified(blob)
        yield Entry(
            f"{_BLOBS}/{blob.sha256}",
            Kind.FILE,
            size=blob.size,
            content=lambda path=path: _chunks(path),  # type: ignore[misc]
        )


def _for_docker(layout: Layout, images: Mapping[str, Descriptor]) -> Entry:
    """Return Docker's list of `images`, each for its first platform."""
    listed = []
    for name, descriptor in images.items():
        manifest = _first(layout, descriptor)
        listed.append(
            {
                "Config": f"{_BLOBS}/{manifest.config.blob.sha256}",
                "RepoTags": _docker_name(name),
                "Layers": [f"{_BLOBS}/{layer.blob.sha256}" for layer in manifest.layers],
            }
        )
    return file("manifest.json", models.canonical_json(listed))


def _first(layout: Layout, descriptor: Descriptor) -> Manifest:
    for _ in range(_MAX_NESTING):
        if descriptor.media_type not in models.INDEXES:
            break
        descriptor = layout.index(descriptor).manifests[0]
    return layout.manifest(descriptor)


def _docker_name(name: str) -> list[str]:
    try:
        parsed = parse(name)
    except InputError:
        return []  # the image then has no name, only its ID
    if parsed.tag is None:
        return []
    plain = name.partition("@")[0]  # `docker load` does not accept a digest in a name
    return [plain if plain.endswith(f":{parsed.tag}") else f"{plain}:{parsed.tag}"]


def _reachable(layout: Layout, descriptor: Descriptor, depth: int = 0) -> dict[str, Blob]:
    found = {descriptor.digest: descriptor.blob}
    if descriptor.media_type in models.INDEXES and depth < _MAX_NESTING:
        for entry in layout.index(descriptor).manifests:
            # An index may list platforms that were never fetched.
            if layout.store.has(entry.blob):
                found |= _reachable(layout, entry, depth + 1)
    elif descriptor.media_type in models.MANIFESTS:
        manifest = layout.manifest(descriptor)
        for part in (manifest.config, *manifest.layers):
            found[part.digest] = part.blob
    return found


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as source:
        while chunk := source.read(CHUNK):
            yield chunk


def import_folder(layout: Layout, source: Path) -> tuple[Descriptor, ...]:
    """Import every image of an OCI layout folder into the store; return its index's entries.

    Blobs are compared with their names before anything is stored. Raises PiimageError
    ``oci.layout`` if the folder is not a layout, ``oci.blob`` if a blob is missing or altered.
    """
    if not (source / "index.json").is_file():
        raise _no_layout(str(source))
    with layout.store.scratch() as scratch:
        for path in sorted((source / _BLOBS).glob("*")):
            if path.is_file() and len(path.name) == 64:
                _stage(scratch / path.name, _chunks(path), str(path))
        with (source / "index.json").open("rb") as index:
            top = index.read(models.MAX_DOCUMENT + 1)
        return _adopt(layout, scratch, top, str(source))


def import_archive(layout: Layout, stream: IO[bytes], origin: str) -> tuple[Descriptor, ...]:
    """Import every image of an oci-archive into the store; raises the errors of `import_folder`."""
    top: bytes | None = None
    staged = 0
    with layout.store.scratch() as scratch:
        for entry in read_tar(stream, origin):
            if entry.kind is not Kind.FILE:
                continue
            parent, _, name = entry.path.rpartition("/")
            if entry.path == "index.json":
                top = _bounded(entry, origin)
            elif parent == _BLOBS and len(name) == 64 and staged < _MAX_BLOBS:
                staged += 1
                _stage(scratch / name, entry.content(), f"{origin}:{entry.path}")
        if top is None:
            raise _no_layout(origin)
        return _adopt(layout, scratch, top, origin)


def _bounded(entry: Entry, origin: str) -> bytes:
    if entry.size > models.MAX_DOCUMENT:
        raise _no_layout(origin)
    return b"".join(entry.content())


def _stage(target: Path, chunks: Iterable[bytes], place: str) -> None:
    with target.open("wb") as out:
        writer = BlobWriter(out)
        for chunk in chunks:
            writer.write(chunk)
    if writer.blob().sha256 != target.name:
        raise PiimageError(
            "oci.blob",
            f"the digest of a blob is {writer.blob().sha256}, which is not its name",
            place=place,
            hint="make or fetch the copy again: it is damaged or was altered",
        )


def _adopt(layout: Layout, scratch: Path, top: bytes, place: str) -> tuple[Descriptor, ...]:
    """Check all blobs in `scratch`, then move them into the store."""
    index = models.decode(Index, top, place)
    wanted: dict[str, Blob] = {}
    for entry in index.manifests:
        _walk(scratch, entry, wanted, place, 0)
    listed = (index.annotations or {}).get(REFERRERS)
    attached = _attached(scratch, listed, place) if listed else ()
    for entry in attached:
        _walk(scratch, entry, wanted, place, 0)
    for sha256 in wanted:
        layout.store.add_file(scratch / sha256)
    for entry in index.manifests:
        name = (entry.annotations or {}).get(models.REF_NAME)
        if name:
            layout.set_name(name, entry)
    layout.take_referrers(attached)
    return index.manifests


def _attached(scratch: Path, digest: str, place: str) -> tuple[Descriptor, ...]:
    """Return the artifacts that the index `digest` lists as attached."""
    path = scratch / digest.removeprefix("sha256:")
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest) or not path.is_file():
        raise _no_layout(place)
    return models.decode(Index, _document(path, place), place).manifests


def _walk(
    scratch: Path, descriptor: Descriptor, wanted: dict[str, Blob], place: str, depth: int
) -> None:
    _require(scratch, descriptor, place)
    wanted[descriptor.blob.sha256] = descriptor.blob
    data = scratch / descriptor.blob.sha256
    if descriptor.media_type in models.INDEXES and depth < _MAX_NESTING:
        for entry in models.decode(Index, _document(data, place), place).manifests:
            if entry.blob.sha256 not in wanted:
                _walk(scratch, entry, wanted, place, depth + 1)
    elif descriptor.media_type in models.MANIFESTS:
        manifest = models.decode(Manifest, _document(data, place), place)
        for part in (manifest.config, *manifest.layers):
            _require(scratch, part, place)
            wanted[part.blob.sha256] = part.blob


def _document(path: Path, place: str) -> bytes:
    if path.stat().st_size > models.MAX_DOCUMENT:
        raise _no_layout(place)
    return path.read_bytes()


def _require(scratch: Path, descriptor: Descriptor, place: str) -> None:
    path = scratch / descriptor.blob.sha256
    size = path.stat().st_size if path.exists() else None
    if size != descriptor.size:
        found = "is missing" if size is None else f"has {size} bytes, not {descriptor.size}"
        raise PiimageError(
            "oci.blob",
            f"the blob {descriptor.digest} {found}",
            place=place,
            hint="make or fetch the copy again: it is damaged or was altered",
        )


def _no_layout(place: str) -> PiimageError:
    return InputError(
        "oci.layout",
        "this is not an OCI image layout: it has no valid index.json",
        place=place,
        hint="make one with `skopeo copy … oci:FOLDER` or `docker buildx build --output type=oci`",
    )
