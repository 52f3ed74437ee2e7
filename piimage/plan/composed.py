"""The parts of a container folder, for an appliance or for an image of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from piimage.compose.described import container_layers
from piimage.compose.layers import Layer
from piimage.compose.python import Python
from piimage.config.container import (
    LABEL,
    ContainerConfig,
    merge,
    portable,
    secure_defaults,
    to_label,
    with_user,
)
from piimage.config.service import Service
from piimage.lock import Lock
from piimage.locking.folders import ContainerFolder, base_tree, folder_target
from piimage.oci.layout import Image
from piimage.oci.models import Descriptor, Execution

if TYPE_CHECKING:
    from piimage.python.source import BuiltWheel

TITLE: Final = "org.opencontainers.image.title"
_BASE_NAME: Final = "org.opencontainers.image.base.name"
_BASE_DIGEST: Final = "org.opencontainers.image.base.digest"
_LICENCES: Final = "org.opencontainers.image.licenses"


@dataclass(frozen=True)
class ContainerParts:
    """A container before its entry is considered: layers (lowest first), program, and defaults.

    `labels` and `original` have the meaning of `ContainerPlan`'s.
    """

    layers: tuple[Layer, ...]
    execution: Execution
    defaults: ContainerConfig
    labels: Mapping[str, str] = field(default_factory=dict)
    original: Descriptor | None = None


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
    defaults = merge(secure_defaults(), service.container)
    return ContainerParts(
        layers, complete(execution, defaults), defaults, _labels(service, defaults)
    )


def complete(execution: Execution, config: ContainerConfig) -> Execution:
    """Return `execution` with the program of `config`, for engines that do not read the label.

    `env:` and `command:` replace those of the image.
    """
    update: dict[str, object] = {}
    if config.env is not None:
        update["env"] = config.env
    if config.cwd is not None:
        update["working_dir"] = config.cwd
    if config.user is not None:
        update["user"] = config.user
    if config.command is not None:
        update |= {"entrypoint": config.command, "cmd": None}
    return execution.model_copy(update=update)


def of_entry(parts: ContainerParts, entry: ContainerConfig) -> ContainerParts:
    """Return `parts` of an entry with `packages:`, whose settings are those of the image."""
    config = merge(parts.defaults, entry)
    labels = {**parts.labels, LABEL: to_label(portable(config))}
    return replace(parts, execution=complete(parts.execution, config), labels=labels)


def _labels(service: Service, defaults: ContainerConfig) -> Mapping[str, str]:
    """Return the labels of the image (image-spec, annotations.md): the content alone decides."""
    labels = {TITLE: service.name, LABEL: to_label(portable(with_user(defaults, service.user)))}
    return labels | ({_LICENCES: service.license} if service.license else {})


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


def dockerfile_labels(
    name: str, own: Mapping[str, str] | None, bases: Mapping[str, Image]
) -> Mapping[str, str]:
    """Return the labels of the image of a Dockerfile, which has labels of its `own`.

    `bases` are the images that it builds on, by reference. Source: image-spec, annotations.md.
    """
    labels = {TITLE: name, **(own or {})}
    if len(bases) == 1:
        # The base image may have such labels as well, which name its own base.
        ((base, image),) = bases.items()
        labels |= {_BASE_NAME: base, _BASE_DIGEST: image.descriptor.digest}
    return labels
