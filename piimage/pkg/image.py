"""From parts to images: one for each platform with its bill of materials, and one name for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from piimage.clock import EPOCH
from piimage.oci.layout import Image, Layout
from piimage.oci.models import Descriptor, ImageConfig, Index, RootFileSystem
from piimage.oci.reference import Reference
from piimage.pkg.source import Dockerfile, Source

if TYPE_CHECKING:
    from piimage.pkg.composing import Parts

SPDX: Final = "application/spdx+json"
"""The media type of a bill, and the type of the artifact that contains it."""

_CREATED: Final = datetime.fromtimestamp(EPOCH, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
_TITLE: Final = "org.opencontainers.image.title"
_REVISION: Final = "org.opencontainers.image.revision"
_LICENCES: Final = "org.opencontainers.image.licenses"


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
    labels = _labels(source, content)
    images = tuple(_image(part, labels, layout) for part in parts)
    for image, part in zip(images, parts, strict=True):
        _attach_bill(source.name, image, part, layout)
    descriptor = images[0].descriptor
    if len(images) > 1:
        entries = tuple(image.descriptor for image in images)
        descriptor = layout.write_index(Index(manifests=entries))
    layout.rename(str(reference), descriptor, lambda name: _is_outdated(name, reference))
    return Built(reference, descriptor, images)


def _is_outdated(name: str, reference: Reference) -> bool:
    return name.startswith(f"{reference.name}:") and "-dirty-" in name


def _labels(source: Source, content: str) -> Mapping[str, str]:
    """Return the standard labels (image-spec, annotations.md) that depend on the content alone."""
    labels = {_TITLE: source.name, _REVISION: content}
    if not isinstance(source.recipe, Dockerfile) and source.recipe.license:
        labels[_LICENCES] = source.recipe.license
    return labels


def _image(parts: Parts, labels: Mapping[str, str], layout: Layout) -> Image:
    # A LABEL of the Dockerfile takes precedence.
    execution = parts.execution.model_copy(update={"labels": {**labels, **parts.labels}})
    platform = parts.platform
    config = ImageConfig(
        os=platform.os,
        architecture=platform.architecture,
        variant=platform.variant,
        created=_CREATED,
        config=execution,
        rootfs=RootFileSystem(diff_ids=tuple(layer.diff_id for layer in parts.layers)),
    )
    return layout.write_image(config, [layer.descriptor for layer in parts.layers])


def _attach_bill(name: str, image: Image, parts: Parts, layout: Layout) -> None:
    from piimage.sbom import spdx  # noqa: PLC0415
    from piimage.sbom.locked import components, tool_version  # noqa: PLC0415  # not for a tag
    from piimage.sbom.model import bill  # noqa: PLC0415

    contents = bill(name, image.descriptor.digest, components(parts.lock, parts.pages))
    text = spdx.encode(replace(contents, purpose="CONTAINER"), tool_version())
    blob = layout.store.add_bytes(text)
    layout.add_referrer(image.descriptor, SPDX, [Descriptor.of(SPDX, blob)])
