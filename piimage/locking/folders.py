"""Container folders that entries of the file name, read once each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from piimage import resources
from piimage.config.load import load_folder, load_system
from piimage.config.models import Appliance, Entry
from piimage.config.rootfs import RootFileSystem
from piimage.config.service import Service
from piimage.debian.request import Request
from piimage.lock import Lock
from piimage.python.target import Target, target_of


@dataclass(frozen=True)
class ContainerFolder:
    """A container folder, or what stands for one in an entry with `packages:`."""

    root: str
    """The name of its packages in the lock."""
    path: Path
    service: Service


def entries(appliance: Appliance) -> tuple[Entry, ...]:
    """Return all entries in LinuxKit's order: onboot, onshutdown, services."""
    return (*appliance.onboot, *appliance.onshutdown, *appliance.services)


def folder_of(entry: Entry) -> ContainerFolder | None:
    """Return the folder that `entry` is made from; None if it is an image."""
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
    """Return the folder that `entry` is built from by an engine; None if it is composed."""
    if entry.build is None or (Path(entry.build) / "service.yml").is_file():
        return None
    return Path(entry.build) if (Path(entry.build) / "Dockerfile").is_file() else None


def base_tree(name: str) -> RootFileSystem:
    """Return the shared lower tree `name`, which `base:` of a container folder names."""
    return load_system(resources.path("bases") / f"{name}.yml")


def folder_requests(folders: Iterable[ContainerFolder]) -> Iterator[Request]:
    """Give what the archive is asked for: each folder's packages, and those of its base.

    Where a folder has Python packages built, what builds them as well.
    """
    for folder in folders:
        tree = folder.service
        base = base_tree(tree.base) if tree.base is not None else None
        # What the base goes without, its containers go without, unless they name it.
        left_out = [name for name in base.without if name not in tree.packages] if base else []
        if tree.packages:
            yield Request(folder.root, tree.packages, (*tree.without, *left_out))
        if base is not None:
            yield Request(f"base/{tree.base}", base.packages, base.without)
        if tree.sources:
            from piimage.python.source import source_requests  # noqa: PLC0415  # seldom needed

            yield from source_requests()


def folder_target(folder: ContainerFolder, lock: Lock) -> Target:
    """Return the Python that a container has; InputError ``python.no-python`` if it has none."""
    service = folder.service
    packages = list(lock.of_root(folder.root)) if service.packages else []
    if service.base is not None:
        packages += lock.of_root(f"base/{service.base}")
    return target_of(packages, str(folder.path / "service.yml"))
