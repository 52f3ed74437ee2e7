"""The steps of the containers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from piimage.compose.containers import ContainerPlan, ContainersLayer
from piimage.compose.described import container_layers
from piimage.compose.layers import Layer
from piimage.config.container import ContainerConfig, merge, secure_defaults
from piimage.config.models import Appliance, Entry
from piimage.lock import Lock
from piimage.oci.bundle import folder_name
from piimage.oci.models import Execution
from piimage.oci.spec import ContainerKind, container_ids
from piimage.plan.folders import Folder, base_tree, entries, folder_of

Made = tuple[tuple[Layer, ...], Execution, ContainerConfig]


def plan_containers(
    appliance: Appliance, lock: Lock, image: Callable[[Entry], Made]
) -> ContainersLayer:
    """Return the containers layer; `image` gives what an entry by `image:` is made of."""
    ids = container_ids([entry.name for entry in entries(appliance)])
    sections: tuple[tuple[ContainerKind, Sequence[Entry]], ...] = (
        ("onboot", appliance.onboot),
        ("onshutdown", appliance.onshutdown),
        ("services", appliance.services),
    )
    plans = tuple(
        _plan(entry, kind, number, lock, image)
        for kind, section in sections
        for number, entry in enumerate(section)
    )
    return ContainersLayer(plans, ids)


def _plan(
    entry: Entry, kind: ContainerKind, number: int, lock: Lock, image: Callable[[Entry], Made]
) -> ContainerPlan:
    folder = folder_of(entry)
    layers, execution, below = image(entry) if folder is None else _composed(folder, lock)
    config = merge(below, entry)
    return ContainerPlan(
        name=entry.name,
        kind=kind,
        folder=folder_name(kind, number, entry.name),
        config=config.model_dump_json(by_alias=True, exclude_none=True),
        execution=execution.model_dump_json(by_alias=True, exclude_none=True),
        layers=layers,
        place=f"{kind}.{entry.name}",
        profile=_profile(config),
    )


def _composed(folder: Folder, lock: Lock) -> Made:
    service = folder.service
    base = None
    if service.base is not None:
        base = (base_tree(service.base), lock.of_root(f"base/{service.base}"))
    packages = lock.of_root(folder.root) if service.packages else ()
    layers = container_layers(service.name, service, packages, base, folder.path)
    execution = Execution(
        user=service.user,
        env=service.env or None,
        entrypoint=service.entrypoint or None,
        cmd=service.cmd or None,
        working_dir=service.cwd,
    )
    return layers, execution, merge(secure_defaults(), service.container)


def _profile(config: ContainerConfig) -> bytes | None:
    if config.seccomp in (None, "default", "unconfined"):
        return None
    return Path(str(config.seccomp)).read_bytes()
