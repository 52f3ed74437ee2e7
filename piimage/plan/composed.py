"""The parts of a container folder, for an appliance or for an image of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from piimage.compose.described import container_layers
from piimage.compose.layers import Layer
from piimage.compose.python import Python
from piimage.config.container import ContainerConfig, merge, secure_defaults
from piimage.lock import Lock
from piimage.locking.folders import ContainerFolder, base_tree, folder_target
from piimage.oci.models import Execution

if TYPE_CHECKING:
    from piimage.python.source import BuiltWheel


@dataclass(frozen=True)
class ContainerParts:
    """A container before its entry is considered: layers (lowest first), program, and defaults."""

    layers: tuple[Layer, ...]
    execution: Execution
    defaults: ContainerConfig


def folder_parts(folder: ContainerFolder, lock: Lock) -> ContainerParts:
    """Return the parts of a container folder, with the packages and wheels of `lock`."""
    service = folder.service
    base = None
    if service.base is not None:
        base = (base_tree(service.base), lock.of_root(f"base/{service.base}"))
    packages = lock.of_root(folder.root) if service.packages else ()
    python = None
    if service.wheels or service.sources or service.python:
        python = _python(folder, lock)
    layers = container_layers(service.name, service, packages, base, folder.path, python)
    execution = Execution(
        user=service.user,
        env=service.env or None,
        entrypoint=service.entrypoint or None,
        cmd=service.cmd or None,
        working_dir=service.cwd,
    )
    return ContainerParts(layers, execution, merge(secure_defaults(), service.container))


def _python(folder: ContainerFolder, lock: Lock) -> Python:
    service = folder.service
    target = folder_target(folder, lock)
    pins = lock.wheels_of(folder.root) if service.wheels or service.sources else ()
    wheels = tuple(pin for pin in pins if not pin.is_source)
    built: tuple[BuiltWheel, ...] = ()
    if service.sources:
        from piimage.python.source import built_wheel  # noqa: PLC0415  # rarely needed

        built = tuple(built_wheel(pin, target, lock) for pin in pins if pin.is_source)
    projects = tuple(map(Path, service.python))
    return Python(target.python, target.architecture, wheels, projects, built)
