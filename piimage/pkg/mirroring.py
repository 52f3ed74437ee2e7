"""The verbs ``cache pull`` and ``cache push``: named images between the store and registries."""

from __future__ import annotations

import difflib
from collections.abc import Collection

from piimage.errors import InputError
from piimage.oci.layout import Image
from piimage.oci.models import Platform
from piimage.oci.reference import Reference, parse
from piimage.oci.registry import Registry
from piimage.pkg.listing import rows


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
    reference = str(parse(name))
    whole = {f"{row.name}:{row.tag}" if row.tag else row.name for row in rows(registry.layout)}
    names = registry.layout.names()
    if reference not in names or reference.partition("@")[0] not in whole:
        raise _no_image(name, whole)
    return registry.push(parse(target) if target else parse(name), names[reference])


def _no_image(name: str, known: Collection[str]) -> InputError:
    near = difflib.get_close_matches(name, known, 1)
    return InputError(
        "cache.no-image",
        f"the store has no image {name}",
        hint=f"did you mean {near[0]}?"
        if near
        else "`piimage pkg ls` lists them; `piimage cache pull` fetches one",
    )
