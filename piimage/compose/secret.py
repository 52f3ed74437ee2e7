"""A layer of secret files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from piimage.compose.layers import FilesLayer, Layer
from piimage.sbom.ledger import Ledger
from piimage.steps import Job
from piimage.store import Blob


@dataclass(frozen=True)
class SecretLayer(FilesLayer):
    """Files whose content and digest do not reach the manifest.

    A weak secret could be guessed from its digest. Put nothing else in the layer.
    """

    def make(self, job: Job) -> Mapping[str, Blob]:
        """Write the squashfs; the ledger stays empty."""
        return self.write(self.tree(job), Ledger(), job)


def has_secrets(layers: Iterable[Layer]) -> bool:
    """Tell whether one of `layers` holds secrets."""
    return any(isinstance(layer, SecretLayer) for layer in layers)
