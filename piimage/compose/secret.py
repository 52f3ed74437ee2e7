"""A layer whose files nobody but the Pi's root may see."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from piimage.card.squashfs import write_squashfs
from piimage.compose.layers import FilesLayer, Layer
from piimage.container.rootfs import Notebook
from piimage.sbom.ledger import Ledger
from piimage.steps import Job
from piimage.store import Blob
from piimage.trees import tar_chunks


@dataclass(frozen=True)
class SecretLayer(FilesLayer):
    """Files of which neither content nor digest reaches the manifest.

    From a digest a weak secret can be guessed. Put nothing else in the layer.
    """

    def make(self, job: Job) -> Mapping[str, Blob]:
        """Write the squashfs; the ledger stays empty."""
        book = Notebook()
        with job.store.scratch() as folder:
            target = folder / "layer"
            chunks = tar_chunks(book.noting(self.tree(job)))
            write_squashfs(job.runner, chunks, target, self.compression)
            return {
                "squashfs": job.store.add_file(target),
                "notes": job.store.add_bytes(book.notes().encode()),
                "files": job.store.add_bytes(Ledger().encode()),
            }


def has_secrets(layers: Iterable[Layer]) -> bool:
    """Say whether what is made of `layers` is for its owner's eyes only."""
    return any(isinstance(layer, SecretLayer) for layer in layers)
