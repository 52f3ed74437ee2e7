"""From parts to images: one for each platform with its bill of materials, and one name for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from piimage.formats.images import finished
from piimage.oci.layout import Image, Layout
from piimage.oci.models import Descriptor, Index
from piimage.oci.reference import Reference
from piimage.pkg.source import Source

if TYPE_CHECKING:
    from piimage.pkg.composing import Parts

SPDX: Final = "application/spdx+json"
"""The media type of a bill, and the type of the artifact that contains it."""

_REVISION: Final = "org.opencontainers.image.revision"


@dataclass(frozen=True)
class Built:
    """A built image: `descriptor` names the one manifest, or the index of several platforms."""

    reference: Reference
    descriptor: Descriptor
    images: tuple[Image, ...]

    @property
    def size(self) -> int:
        """Bytes of the compressed layers of all platforms; a shared layer counts once."""
        layers = [layer for image in self.images for layer in image.manifest.layers]
        return sum({layer.digest: layer.size for layer in layers}.values())


def put_together(
    source: Source, content: str, reference: Reference, parts: Sequence[Parts], layout: Layout
) -> Built:
    """Store an image with its bill for each of `parts`, and name them `reference`.

    Names of earlier uncommitted states are removed.
    """
    images = tuple(
        finished(layout, part.platform, part.layers, part.execution, part.labels) for part in parts
    )
    for image, part in zip(images, parts, strict=True):
        _attach_bill(source.name, content, image, part, layout)
    descriptor = images[0].descriptor
    if len(images) > 1:
        entries = tuple(image.descriptor for image in images)
        descriptor = layout.write_index(Index(manifests=entries))
    layout.rename(str(reference), descriptor, lambda name: _is_outdated(name, reference))
    return Built(reference, descriptor, images)


def _is_outdated(name: str, reference: Reference) -> bool:
    return name.startswith(f"{reference.name}:") and "-dirty-" in name


def _attach_bill(name: str, content: str, image: Image, parts: Parts, layout: Layout) -> None:
    from piimage.sbom import spdx  # noqa: PLC0415
    from piimage.sbom.locked import components, tool_version  # noqa: PLC0415  # not for a tag
    from piimage.sbom.model import bill  # noqa: PLC0415

    contents = bill(name, image.descriptor.digest, components(parts.lock, parts.pages))
    text = spdx.encode(replace(contents, purpose="CONTAINER"), tool_version())
    blob = layout.store.add_bytes(text)
    # The image itself does not change with the folder's history or notes: the bill tells of these.
    notes = {_REVISION: content}
    layout.add_referrer(image.descriptor, SPDX, [Descriptor.of(SPDX, blob)], notes)
