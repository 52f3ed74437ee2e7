"""Container folders that entries of the file name, each read once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from piimage import resources
from piimage.config.load import load_folder, load_shipped
from piimage.config.models import Appliance, Entry
from piimage.config.rootfs import RootFileSystem
from piimage.config.service import Service
from piimage.debian.request import Request
from piimage.lock import Lock
from piimage.oci.models import ARM64
from piimage.python.target import Target, target_of


@dataclass(frozen=True)
class ContainerFolder:
    """A container folder, or what stands for one in an entry with `packages:`."""

    root: str
    """The name of its packages in the lock."""
    path: Path
    service: Service
    architecture: str = ARM64.architecture

    @property
    def base_root(self) -> str:
        """The name of its base's packages in the lock."""
        return f"base/{self.service.base}{architecture_mark(self.architecture)}"

    @property
    def has_wheels(self) -> bool:
        """Whether it needs anything from the Python index."""
        return bool(self.service.wheels or self.service.sources)

    def for_architecture(self, name: str) -> ContainerFolder:
        """Return this arm64 folder as it is locked for the architecture `name`."""
        return replace(self, root=self.root + architecture_mark(name), architecture=name)


def architecture_mark(name: str) -> str:
    """Return what ends the roots of the architecture `name` in a lock; nothing for arm64."""
    return "" if name == ARM64.architecture else f"@{name}"


def entries(appliance: Appliance) -> tuple[Entry, ...]:
    """Return all entries in LinuxKit's order: onboot, onshutdown, services."""
    return (*appliance.onboot, *appliance.onshutdown, *appliance.services)


def folders_in(appliance: Appliance) -> tuple[ContainerFolder, ...]:
    """Return the folders that the entries of `appliance` are made from, in order."""
    folders = (folder_of(entry) for entry in entries(appliance))
    return tuple(folder for folder in folders if folder is not None)


def folder_of(entry: Entry) -> ContainerFolder | None:
    """Return the folder that `entry` is made from; None for an image or a Dockerfile."""
    if entry.packages is not None:
        service = Service(
            name=entry.name, packages=entry.packages, entrypoint=entry.entrypoint or ()
        )
        return ContainerFolder(f"container/{entry.name}", Path(), service)
    if entry.use is not None:
        path = resources.path("services") / entry.use
    elif entry.build is not None:
        if dockerfile_folder(entry) is not None:
            return None
        path = Path(entry.build)
    else:
        return None
    return ContainerFolder(f"container/{path.name}", path, load_folder(path, entry.context_folder))


def dockerfile_folder(entry: Entry) -> Path | None:
    """Return the folder that an engine builds for `entry`; None if it has a service.yml."""
    if entry.build is None or (Path(entry.build) / "service.yml").is_file():
        return None
    return Path(entry.build) if (Path(entry.build) / "Dockerfile").is_file() else None


def base_tree(name: str) -> RootFileSystem:
    """Return the shared lower tree `name`, which `base:` of a container folder names."""
    return load_shipped(resources.path("bases") / f"{name}.yml")


def folder_requests(folders: Iterable[ContainerFolder]) -> Iterator[Request]:
    """Yield the requests of each folder: for its packages, its base, and its Python builds.

    A request that several folders share is given for each.
    """
    for folder in folders:
        service = folder.service
        base = base_tree(service.base) if service.base is not None else None
        # What the base leaves out, its containers leave out, unless they name it.
        left_out = [name for name in base.without if name not in service.packages] if base else []
        if service.packages:
            without = (*service.without, *left_out)
            yield Request(folder.root, service.packages, without, folder.architecture)
        if base is not None:
            yield Request(folder.base_root, base.packages, base.without, folder.architecture)
        if service.sources:
            from piimage.python.source import source_requests  # noqa: PLC0415  # rarely needed

            yield from source_requests()


def with_wheels(folders: Iterable[ContainerFolder]) -> tuple[ContainerFolder, ...]:
    """Return those of `folders` that need the Python index, each once, sorted by root."""
    by_root = {folder.root: folder for folder in folders if folder.has_wheels}
    return tuple(folder for _, folder in sorted(by_root.items()))


def folder_target(folder: ContainerFolder, lock: Lock) -> Target:
    """Return the Python of a container; InputError ``python.no-python`` if it has none."""
    service = folder.service
    packages = list(lock.of_root(folder.root)) if service.packages else []
    if service.base is not None:
        packages += lock.of_root(folder.base_root)
    return target_of(packages, str(folder.path / "service.yml"))
