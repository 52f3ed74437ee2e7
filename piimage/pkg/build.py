"""The verbs ``pkg build``, ``pkg push`` and ``pkg show-tag``."""

from __future__ import annotations

from collections.abc import Sequence

from piimage.locking.inputs import Inputs
from piimage.oci.models import Platform
from piimage.oci.reference import Reference
from piimage.pkg.image import Built, put_together
from piimage.pkg.locking import Pins, lock_of
from piimage.pkg.source import ORG, Dockerfile, Source, reference
from piimage.pkg.tag import HASH, content_hash


def show_tag(
    source: Source,
    platforms: Sequence[Platform],
    pins: Pins,
    inputs: Inputs,
    org: str = ORG,
    tag: str = HASH,
) -> Reference:
    """Return the name of the image that `build` would give for the present content of `source`.

    The lock is part of the content, so it is made or updated as `build` does.
    """
    if HASH not in tag:
        return reference(source, "", org, tag)
    lock_of(source, platforms, pins, inputs)
    return reference(source, content_hash(inputs.runner, source.inputs), org, tag)


def build(
    source: Source,
    platforms: Sequence[Platform],
    pins: Pins,
    inputs: Inputs,
    org: str = ORG,
    tag: str = HASH,
) -> Built:
    """Build the image of `source` for `platforms`, and name it in the layout of the store."""
    lock = lock_of(source, platforms, pins, inputs)
    if isinstance(source.recipe, Dockerfile):
        from piimage.pkg.dockerfiles import build_dockerfile as build_parts  # noqa: PLC0415  # needs the SDK
    else:
        from piimage.pkg.composing import compose as build_parts  # noqa: PLC0415
    parts = [build_parts(source, platform, lock, inputs) for platform in platforms]
    # The lock is part of the content, so the hash is taken after the lock is written.
    content = content_hash(inputs.runner, source.inputs)
    name = reference(source, content, org, tag)
    return put_together(source, content, name, parts, inputs.layout)
