"""The verb ``pkg manifest``: one name for the images of several platforms in a registry."""

from __future__ import annotations

from typing import Final

from piimage.errors import InputError, PiimageError
from piimage.oci.models import Descriptor
from piimage.oci.reference import Reference
from piimage.oci.registry import Registry
from piimage.pkg.source import PLATFORMS


def join(reference: Reference, registry: Registry) -> tuple[Reference, tuple[str, ...]]:
    """Push an index as `reference` with the images ``TAG-arm64`` and ``TAG-amd64`` beside it.

    An image that the registry does not have is left out. Returns the reference with the digest of
    the index, and the platforms. Raises InputError ``pkg.no-manifests`` if it has none of them, and
    the errors of `Registry.resolve`.
    """
    found = {name: _found(reference, name, registry) for name in PLATFORMS}
    entries = {name: entry for name, entry in found.items() if entry is not None}
    if not entries:
        names = " or ".join(str(_part(reference, name)) for name in PLATFORMS)
        raise InputError(
            "pkg.no-manifests",
            f"the registry has no image {names}",
            place=str(reference),
            hint=f"push one first: piimage pkg push DIR --tag '{reference.tag}-arm64'",
        )
    return registry.push_list(reference, tuple(entries.values())), tuple(entries)


def _part(reference: Reference, platform: str) -> Reference:
    """Return the name of the image for `platform`, as LinuxKit forms it."""
    architecture: Final = platform.rpartition("/")[2]
    return Reference(reference.registry, reference.repository, f"{reference.tag}-{architecture}")


def _found(reference: Reference, name: str, registry: Registry) -> Descriptor | None:
    platform = PLATFORMS[name]
    try:
        resolved = registry.resolve(_part(reference, name), platform)
    except PiimageError as error:
        if error.code != "oci.no-image":
            raise
        return None
    return Descriptor.of(resolved.manifest.media_type, resolved.manifest.blob).model_copy(
        update={"platform": resolved.platform}
    )
