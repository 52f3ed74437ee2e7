"""The containers layer: a folder a container, with what runs it and the layers it consists of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from piimage.compose.layers import Layer
from piimage.config.container import ContainerConfig
from piimage.container.bundle import containers_tree
from piimage.container.rootfs import LayerNotes, Root
from piimage.container.spec import Container, ContainerKind
from piimage.oci.models import Execution
from piimage.steps import Job
from piimage.trees import Entry, Tree, file, folder


@dataclass(frozen=True)
class ContainerPlan:
    """A container before its layers are made; `config` and `execution` are JSON of their models.

    `folder` is its folder in the containers layer (``NAME``, or ``NNN-NAME``), `place` says where
    the file names it, `profile` is the seccomp profile if the entry names a file.
    """

    name: str
    kind: ContainerKind
    folder: str
    config: str
    execution: str
    layers: tuple[Layer, ...]
    place: str
    profile: bytes | None = None


@dataclass(frozen=True)
class VolumePlan:
    """A folder that containers share, filled from an image before any of them starts.

    `folder` names it by its content, so that containers are changed when it is.
    """

    folder: str
    layers: tuple[Layer, ...]
    readonly: bool


@dataclass(frozen=True)
class ContainersLayer(Layer):
    """All containers of one version; appliance/README.md is the contract.

    `ids` are the numbers that a container's name stands for in `uid` and `gid`.
    """

    containers: tuple[ContainerPlan, ...]
    ids: Mapping[str, int]
    volumes: tuple[VolumePlan, ...] = ()

    @property
    def parts(self) -> tuple[Layer, ...]:
        """The layers that containers and volumes consist of, each once."""
        lists = [one.layers for one in self.containers] + [one.layers for one in self.volumes]
        return tuple({layer.key: layer for layers in lists for layer in layers}.values())

    @property
    def title(self) -> str:
        """What is being made."""
        return f"configure {len(self.containers)} containers"

    def tree(self, job: Job) -> Tree:
        """Give each container's folder, and process 1's stanzas."""
        return self._entries(job)

    def _entries(self, job: Job) -> Iterator[Entry]:
        yield from containers_tree([decided(one, job) for one in self.containers], self.ids)
        if self.volumes:
            yield folder("volumes")
        for volume in self.volumes:
            digests = [job.blob(layer, "squashfs").sha256 for layer in volume.layers]
            place = f"volumes/{volume.folder}"
            yield folder(place)
            yield file(f"{place}/layers", "".join(f"{one}\n" for one in digests).encode())
            yield file(f"{place}/container.env", f"READONLY='{int(volume.readonly)}'\n".encode())


def decided(plan: ContainerPlan, job: Job) -> Container:
    """Return the container of `plan`, whose layers are made."""
    notes = [LayerNotes.decode(job.file(one, "notes").read_bytes()) for one in plan.layers]
    return Container(
        name=plan.name,
        kind=plan.kind,
        folder=plan.folder,
        config=ContainerConfig.model_validate_json(plan.config),
        image=Execution.model_validate_json(plan.execution),
        root=Root(notes),
        layers=tuple(job.blob(one, "squashfs").sha256 for one in plan.layers),
        place=plan.place,
        profile=plan.profile,
    )
