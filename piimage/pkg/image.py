"""From parts to images: one for each platform with its bill of materials, and one name for all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from piimage.formats.images import finished
from piimage.oci.layout import Image, Layout
from piimage.oci.models import Descriptor, Index
from piimage.oci.reference import Reference
from piimage.pkg.source import Dockerfile, Source

if TYPE_CHECKING:
    from piimage.pkg.composing import Parts
    from piimage.sbom import provenance

SPDX: Final = "application/spdx+json"
"""The media type of a bill, and the type of the artifact that contains it."""
IN_TOTO: Final = "application/vnd.in-toto+json"
"""The media type of an attestation, and the type of the artifact that contains several."""
_PREDICATE: Final = "in-toto.io/predicate-type"
"""The annotation of an attestation's layer with its kind, as BuildKit writes it."""

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
    """Store an image with its bill and attestations for each of `parts`; name them `reference`.

    Names of earlier uncommitted states are removed.
    """
    images = tuple(
        finished(layout, part.platform, part.layers, part.execution, part.labels) for part in parts
    )
    for image, part in zip(images, parts, strict=True):
        _attach_statements(source, content, image, part, layout)
    descriptor = images[0].descriptor
    if len(images) > 1:
        entries = tuple(image.descriptor for image in images)
        descriptor = layout.write_index(Index(manifests=entries))
    layout.rename(str(reference), descriptor, lambda name: _is_outdated(name, reference))
    return Built(reference, descriptor, images)


def bill_of(image: Image, layout: Layout) -> bytes:
    """Return the SPDX bill that is attached to `image`."""
    bills = [entry for entry in layout.referrers(image.descriptor) if entry.artifact_type == SPDX]
    return layout.document(layout.manifest(bills[0]).layers[0])


def _is_outdated(name: str, reference: Reference) -> bool:
    return name.startswith(f"{reference.name}:") and "-dirty-" in name


def _attach_statements(
    source: Source, content: str, image: Image, parts: Parts, layout: Layout
) -> None:
    """Attach the bill as it is, and in-toto statements of the bill and of the build."""
    from piimage.sbom import provenance, spdx  # noqa: PLC0415
    from piimage.sbom.locked import components, tool_version  # noqa: PLC0415  # not for a tag
    from piimage.sbom.model import bill  # noqa: PLC0415

    name, digest = source.name, image.descriptor.digest
    contents = bill(name, digest, components(parts.lock, parts.pages))
    text = spdx.encode(replace(contents, purpose="CONTAINER"), tool_version())
    # The image itself does not change with the folder's history or notes: the bill tells of these.
    notes = {_REVISION: content}
    blob = layout.store.add_bytes(text)
    layout.attach(image.descriptor, SPDX, [Descriptor.of(SPDX, blob)], notes)
    predicates = {
        provenance.SPDX_PREDICATE: json.loads(text),
        provenance.SLSA_PREDICATE: provenance.provenance(
            _build(source, content, parts), tool_version()
        ),
    }
    statements = [
        Descriptor.of(
            IN_TOTO,
            layout.store.add_bytes(provenance.statement(name, digest, kind, predicate)),
        ).model_copy(update={"annotations": {_PREDICATE: kind}})
        for kind, predicate in predicates.items()
    ]
    layout.attach(image.descriptor, IN_TOTO, statements, notes)


def _build(source: Source, content: str, parts: Parts) -> provenance.Build:
    from piimage.sbom.provenance import Build  # noqa: PLC0415

    recipe = source.recipe
    name, arguments = "service.yml", {}
    if isinstance(recipe, Dockerfile):
        name, arguments = recipe.path.name, recipe.arguments
    platform = str(parts.platform)
    return Build(source.name, content, name, platform, parts.lock, arguments)
