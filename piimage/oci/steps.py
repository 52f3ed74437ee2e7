"""The steps of a build that read foreign image layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from piimage.oci.layers import Scan, layer_tree, lower_tree, scan
from piimage.steps import Job, Step
from piimage.store import Blob
from piimage.trees import Entry


@dataclass(frozen=True)
class ScanLayer(Step):
    """Checks an image layer and records the facts that higher layers need; output ``scan``."""

    layer: Blob
    diff_id: str

    @property
    def title(self) -> str:
        """The name of the step in messages."""
        return f"check layer {self.layer.sha256[:12]}"

    def make(self, job: Job) -> Mapping[str, Blob]:
        """Read the layer to its end; raises the errors of `piimage.oci.layers.scan`."""
        path = job.store.verified(self.layer)
        found = scan(job.runner, path, self.diff_id, self.layer.digest)
        return {"scan": job.store.add_bytes(found.encode())}

    def result(self, job: Job) -> Scan:
        """Return the scan from the results of `job`."""
        return Scan.decode(job.file(self).read_bytes())


def image_layer_tree(job: Job, layer: ScanLayer, lower: Sequence[ScanLayer]) -> Iterator[Entry]:
    """Give the overlayfs entries of an image layer above its `lower` layers, lowest first.

    For the tree of a step that has `layer` and `lower` among its fields.
    """
    shown = lower_tree(step.result(job) for step in lower)
    path = job.store.path(layer.layer)
    return layer_tree(job.runner, path, layer.result(job), shown, layer.layer.digest)
