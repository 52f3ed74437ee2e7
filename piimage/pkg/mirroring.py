"""Verbs of ``cache``: named images between the store, registries and archives."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from pathlib import Path
from typing import Final

from piimage.errors import InputError
from piimage.oci.archive import export_archive, import_archive
from piimage.oci.layout import Image, Layout
from piimage.oci.models import REF_NAME, Descriptor, Platform
from piimage.oci.reference import Reference, parse
from piimage.oci.registry import Registry
from piimage.pkg.listing import rows
from piimage.trees import read_tar

_MARKER: Final = "oci-layout"


def pull(reference: Reference, platform: Platform, registry: Registry) -> Image:
    """Pull the image that `reference` has now, with what is attached to it, under its name.

    Of an index, only the image for `platform` is kept. Raises the errors of `Registry.pull`.
    """
    image = registry.pull(registry.resolve(reference, platform).reference, platform)
    registry.pull_referrers(reference, image.descriptor)
    registry.layout.set_name(str(reference), image.descriptor)
    return image


def push(name: str, target: str | None, registry: Registry) -> Reference:
    """Push the image `name` of the store, with what is attached to it, as `target` or its own name.

    Returns the reference with the digest. Raises InputError ``cache.no-image`` if the store does
    not have all of the image, ``oci.reference``, and the errors of `Registry.push`.
    """
    descriptor = _whole(name, registry.layout)
    return registry.push(parse(target) if target else parse(name), descriptor)


def save(name: str, target: Path, layout: Layout) -> None:
    """Write the image `name` of the store, with what is attached to it, as an OCI archive.

    Raises InputError ``cache.no-image``.
    """
    export_archive(layout, {str(parse(name)): _whole(name, layout)}, target)


def is_archive(file: Path) -> bool:
    """Tell whether `file` is an OCI archive, and not an exported store or no file at all.

    Raises the errors of `piimage.trees.read_tar`.
    """
    if not file.is_file():
        return False
    with file.open("rb") as stream:
        return any(entry.path == _MARKER for entry in read_tar(stream, str(file)))


def take(file: Path, layout: Layout) -> tuple[str, ...]:
    """Put the images of an OCI archive into the store; return their names.

    Raises the errors of `piimage.oci.archive.import_archive`.
    """
    with file.open("rb") as stream:
        entries = import_archive(layout, stream, str(file))
    return tuple((entry.annotations or {}).get(REF_NAME, entry.digest) for entry in entries)


def remove(name: str, layout: Layout) -> None:
    """Remove the name of an image; `cache gc` deletes its blobs once nothing else uses them.

    Raises InputError ``cache.no-image``.
    """
    reference = str(parse(name))
    if reference not in layout.names():
        raise _no_image(name, layout.names())
    layout.drop_name(reference)


def _whole(name: str, layout: Layout) -> Descriptor:
    """Return the image `name` if the store has all of it, else raise ``cache.no-image``."""
    reference = str(parse(name))
    whole = {f"{row.name}:{row.tag}" if row.tag else row.name for row in rows(layout)}
    names = layout.names()
    if reference not in names or reference.partition("@")[0] not in whole:
        raise _no_image(name, whole)
    return names[reference]


def _no_image(name: str, known: Collection[str]) -> InputError:
    near = difflib.get_close_matches(name, known, 1)
    return InputError(
        "cache.no-image",
        f"the store has no image {name}",
        hint=f"did you mean {near[0]}?"
        if near
        else "`piimage pkg ls` lists them; `piimage cache pull` fetches one",
    )
