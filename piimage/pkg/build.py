"""The verbs ``pkg build``, ``pkg push`` and ``pkg show-tag``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from piimage.lock import Lock
from piimage.locking.inputs import Inputs
from piimage.oci.models import Platform
from piimage.oci.reference import Reference
from piimage.pkg.image import Built, put_together
from piimage.pkg.locking import Pins, lock_of
from piimage.pkg.source import ORG, Dockerfile, Source, reference
from piimage.pkg.tag import HASH, content_hash


@dataclass(frozen=True)
class ImageRequest:
    """An image to build: its source, platforms and pins; `org` and `tag` are of its name."""

    source: Source
    platforms: Sequence[Platform]
    pins: Pins
    org: str = ORG
    tag: str = HASH

    def lock(self, inputs: Inputs) -> Lock:
        """Return the lock, which is made or updated as the pins allow."""
        return lock_of(self.source, self.platforms, self.pins, inputs)

    def reference(self, content: str) -> Reference:
        """Return the name of the image of a source with the hash `content`."""
        return reference(self.source, content, self.org, self.tag)


def show_tag(request: ImageRequest, inputs: Inputs) -> Reference:
    """Return the name of the image that `build` would give for the present content.

    The lock is part of the content, so it is made or updated as `build` does.
    """
    if HASH not in request.tag:
        return request.reference("")
    request.lock(inputs)
    return request.reference(content_hash(inputs.runner, request.source.inputs))


def build(request: ImageRequest, inputs: Inputs) -> Built:
    """Build the requested image, and name it in the layout of the store."""
    source = request.source
    lock = request.lock(inputs)
    if isinstance(source.recipe, Dockerfile):
        from piimage.pkg.dockerfiles import build_dockerfile as build_parts  # noqa: PLC0415  # needs the SDK
    else:
        from piimage.pkg.composing import compose as build_parts  # noqa: PLC0415
    parts = [build_parts(source, platform, lock, inputs) for platform in request.platforms]
    # The lock is part of the content, so the hash is taken after the lock is written.
    content = content_hash(inputs.runner, source.inputs)
    return put_together(source, content, request.reference(content), parts, inputs.layout)
