"""Layers in the format of images, made without a squashfs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from piimage.compose.layers import Layer
from piimage.oci.models import LAYER_GZIP, Descriptor
from piimage.oci.pack import PackedLayer, pack_layer
from piimage.sbom.ledger import Ledger
from piimage.steps import Job, Step
from piimage.store import Blob


@dataclass(frozen=True)
class ImageLayer(Step):
    """A layer as a gzip tar.

    Outputs: ``gzip``; ``diff-id``, the digest of the tar; ``files``, the origin of each file.
    """

    layer: Layer

    @property
    def title(self) -> str:
        """What is being made."""
        return self.layer.title

    def needs(self) -> tuple[Step, ...]:
        """Return what the tree of the layer needs."""
        return self.layer.needs()

    def blobs(self) -> tuple[Blob, ...]:
        """Return the blobs of the tree."""
        return self.layer.blobs()

    def make(self, job: Job) -> Mapping[str, Blob]:
        """Pack the tree."""
        ledger = Ledger()
        packed = pack_layer(job.store, ledger.noting(self.layer.tree(job)))
        return {
            "gzip": packed.descriptor.blob,
            "diff-id": job.store.add_bytes(packed.diff_id.encode()),
            "files": job.store.add_bytes(ledger.encode()),
        }


def packed(step: ImageLayer, job: Job) -> PackedLayer:
    """Return the layer that `step` has made."""
    diff_id = job.file(step, "diff-id").read_text()
    return PackedLayer(Descriptor.of(LAYER_GZIP, job.blob(step, "gzip")), diff_id)
