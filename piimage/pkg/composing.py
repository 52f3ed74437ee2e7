"""A container folder with a service.yml, composed for one platform."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from piimage import events
from piimage.config.container import (
    LABEL,
    PROFILE_WORDS,
    ContainerConfig,
    portable,
    to_label,
    with_user,
)
from piimage.lock import Lock
from piimage.locking.folders import ContainerFolder
from piimage.oci.models import Execution, Platform
from piimage.oci.pack import PackedLayer
from piimage.pkg.layers import ImageLayer, packed
from piimage.pkg.locking import folder, for_platform
from piimage.pkg.source import AMD64, Source
from piimage.pkg.workshop import Workshop
from piimage.plan.composed import folder_parts
from piimage.sbom.ledger import Page
from piimage.steps import Builder, Job

if TYPE_CHECKING:
    from piimage.config.service import Service

# What base-files would bring: the loader's path that every amd64 program names.
_AMD64_LINKS: Mapping[str, str] = {"lib64": "usr/lib64"}


@dataclass(frozen=True)
class Parts:
    """What an image for `platform` is put together from.

    `lock` and `pages` say what it contains: its pins, and what its layers noted of their files.
    """

    platform: Platform
    layers: tuple[PackedLayer, ...]
    execution: Execution
    labels: Mapping[str, str]
    lock: Lock
    pages: tuple[Page, ...]


def compose(source: Source, platform: Platform, lock: Lock, workshop: Workshop) -> Parts:
    """Compose `source` from the packages of `lock`, fetched where the store lacks them.

    Raises what the folder's tree and the packages deserve.
    """
    whole = folder(source)
    assert whole is not None  # noqa: S101  # a Dockerfile is built, not composed
    own = for_platform(lock, platform)
    parts = folder_parts(_fitted(whole, platform), own)
    execution = parts.execution
    steps = tuple(ImageLayer(layer) for layer in parts.layers)
    job = _made(steps, own, workshop)
    label = _portable(with_user(parts.defaults, execution.user), workshop)
    return Parts(
        platform,
        tuple(packed(step, job) for step in steps),
        _complete(execution, parts.defaults),
        {LABEL: to_label(label)},
        own,
        tuple(Page.decode(job.file(step, "files").read_bytes()) for step in steps),
    )


def _fitted(whole: ContainerFolder, platform: Platform) -> ContainerFolder:
    if platform != AMD64:
        return whole
    service: Service = whole.service
    links = {**_AMD64_LINKS, **service.links}
    return replace(whole, service=service.model_copy(update={"links": links}))


def _made(steps: tuple[ImageLayer, ...], lock: Lock, workshop: Workshop) -> Job:
    builder = Builder(workshop.store, workshop.runner, workshop.emit)
    wanted = {blob.sha256 for step in builder.pending(*steps) for blob in step.blobs()}
    packages = [one for one in lock.packages if one.sha256 in wanted]
    if not all(workshop.store.has(one.blob) for one in packages):
        workshop.sources().fetcher().fetch(packages)
    wheels = [one for one in lock.wheels if one.sha256 in wanted]
    if not all(workshop.store.has(one.blob) for one in wheels):
        from piimage.locking.wheels import fetch_wheels  # noqa: PLC0415  # seldom needed

        fetch_wheels(lock, wanted, workshop.store, workshop.sources().wheels)
    return builder.build(*steps)


def _complete(execution: Execution, config: ContainerConfig) -> Execution:
    """Return `execution` with what `config:` says of the program, for engines that read no label.

    There `env:` and `command:` replace, as they do here.
    """
    said: dict[str, object] = {}
    if config.env is not None:
        said["env"] = config.env
    if config.cwd is not None:
        said["working_dir"] = config.cwd
    if config.user is not None:
        said["user"] = config.user
    if config.command is not None:
        said |= {"entrypoint": config.command, "cmd": None}
    return execution.model_copy(update=said)


def _portable(config: ContainerConfig, workshop: Workshop) -> ContainerConfig:
    """Return `config` without the path of a file on this machine."""
    if config.seccomp not in PROFILE_WORDS:
        text = "a label cannot carry a seccomp profile: name it again where the image is used"
        workshop.emit(events.Warning(text))
    return portable(config)
