"""The containers layer: for each container a folder with its files and the list of its layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from piimage.compose.apparmor import FOLDER, Profile
from piimage.compose.layers import Layer
from piimage.config.container import ContainerConfig
from piimage.container.bridge import FOLDER as NETWORK
from piimage.container.bundle import containers_tree
from piimage.container.rootfs import Root
from piimage.container.spec import Container, ContainerKind
from piimage.oci.models import Descriptor, Execution
from piimage.steps import Job
from piimage.trees import Entry, Tree, file, folder


@dataclass(frozen=True)
class ContainerPlan:
    """A container whose layers are not made yet; the fields have the meaning of `Container`'s.

    Its image, for other systems, is put together of layers, execution and `labels`; with an
    `original`, of the layers of that. Without labels it is the original as it is.
    """

    name: str
    kind: ContainerKind
    folder: str
    config: ContainerConfig
    execution: Execution
    layers: tuple[Layer, ...]
    place: str
    profile: bytes | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    original: Descriptor | None = None
    apparmor: Profile | None = None
    address: str | None = None
    inner: tuple[Profile, ...] = ()
    """The profiles that the container gives to what it starts itself."""

    def container(self, job: Job) -> Container:
        """Return the container, with the layers that `job` has made."""
        return Container(
            name=self.name,
            kind=self.kind,
            folder=self.folder,
            config=self.config,
            execution=self.execution,
            root=Root(layer.notes(job) for layer in self.layers),
            layers=tuple(layer.squashfs(job).sha256 for layer in self.layers),
            place=self.place,
            profile=self.profile,
            apparmor=self.apparmor.name if self.apparmor is not None else None,
            address=self.address,
        )


@dataclass(frozen=True)
class VolumePlan:
    """A folder that containers share, filled from an image before the first container starts.

    The name of its `folder` contains a digest of its content, so that a changed volume changes the
    containers that bind it.
    """

    folder: str
    layers: tuple[Layer, ...]
    readonly: bool


@dataclass(frozen=True)
class ContainersLayer(Layer):
    """All containers of one version; appliance/README.md is the contract.

    `ids` are the numbers that `uid:` and `gid:` mean by a container's name.
    """

    containers: tuple[ContainerPlan, ...]
    ids: Mapping[str, int]
    volumes: tuple[VolumePlan, ...] = ()
    network: Mapping[str, bytes] = field(default_factory=dict)
    """The files for the bridge, by name; none if no container is on it."""

    @property
    def parts(self) -> tuple[Layer, ...]:
        """The layers of the containers and volumes, each once."""
        lists = [plan.layers for plan in self.containers] + [plan.layers for plan in self.volumes]
        return tuple({layer.key: layer for layers in lists for layer in layers}.values())

    @property
    def title(self) -> str:
        """The name of the work."""
        return f"configure {len(self.containers)} containers"

    def tree(self, job: Job) -> Tree:
        """Yield each container's folder, the stanzas for process 1, and each volume's folder.

        Raises what `containers_tree` raises.
        """
        return self._entries(job)

    def _entries(self, job: Job) -> Iterator[Entry]:
        yield from containers_tree([plan.container(job) for plan in self.containers], self.ids)
        yield from self._profiles(job)
        if self.network:
            yield folder(NETWORK)
        for name, content in sorted(self.network.items()):
            yield file(f"{NETWORK}/{name}", content)
        if self.volumes:
            yield folder("volumes")
        for volume in self.volumes:
            digests = [layer.squashfs(job).sha256 for layer in volume.layers]
            path = f"volumes/{volume.folder}"
            yield folder(path)
            yield file(f"{path}/layers", "".join(f"{digest}\n" for digest in digests).encode())
            yield file(f"{path}/container.env", f"READONLY='{int(volume.readonly)}'\n".encode())

    def _profiles(self, job: Job) -> Iterator[Entry]:
        own = [plan.apparmor for plan in self.containers if plan.apparmor]
        inner = [profile for plan in self.containers for profile in plan.inner]
        found = {profile.name: profile for profile in (*own, *inner)}
        if found:
            yield folder(FOLDER)
        for name, profile in sorted(found.items()):
            yield file(f"{FOLDER}/{name}", profile.data(job))
