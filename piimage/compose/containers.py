"""The containers layer: a folder a container, with what runs it and the layers it consists of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from piimage.compose.layers import Layer
from piimage.steps import Job
from piimage.trees import Entry, Placement, Tree, file


@dataclass(frozen=True)
class Container:
    """One container: its folder (``services/NAME``, ``onboot/000-NAME``), files, and layers."""

    folder: str
    files: Mapping[str, bytes]
    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class ContainersLayer(Layer):
    """All containers of one version; appliance/README.md is the contract."""

    uses: ClassVar[tuple[str, ...]] = (*Layer.uses, "piimage.oci")

    containers: tuple[Container, ...]
    stanzas: Mapping[str, bytes]

    @property
    def title(self) -> str:
        """What is being made."""
        return f"list {len(self.containers)} containers"

    def tree(self, job: Job) -> Tree:
        """Give each container's folder, and process 1's stanzas."""
        yield from Placement().place(self._entries(job))

    def _entries(self, job: Job) -> Iterator[Entry]:
        for container in self.containers:
            for name, data in sorted(container.files.items()):
                yield file(f"{container.folder}/{name}", data)
            digests = "".join(f"{job.blob(layer).sha256}\n" for layer in container.layers)
            yield file(f"{container.folder}/layers", digests.encode())
        for name, data in sorted(self.stanzas.items()):
            yield file(f"finit.d/{name}.conf", data)
