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
from piimage.locking.fetching import make
from piimage.locking.folders import ContainerFolder
from piimage.locking.inputs import Inputs
from piimage.locking.platforms import for_platform
from piimage.oci.models import Execution, Platform
from piimage.oci.pack import PackedLayer
from piimage.pkg.layers import ImageLayer, packed
from piimage.pkg.locking import folder
from piimage.pkg.source import AMD64, Source
from piimage.plan.composed import composed
from piimage.sbom.ledger import Page

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


def compose(source: Source, platform: Platform, lock: Lock, inputs: Inputs) -> Parts:
    """Compose `source` from the packages of `lock`, fetched where the store lacks them.

    Raises InputError if service.yml or its packages are invalid.
    """
    whole = folder(source)
    assert whole is not None  # noqa: S101  # a Dockerfile is built, not composed
    own = for_platform(lock, platform)
    layers, execution, config = composed(_fitted(whole, platform), own)
    steps = tuple(ImageLayer(layer) for layer in layers)
    job = make(steps, own, inputs)
    label = _portable(with_user(config, execution.user), inputs)
    return Parts(
        platform,
        tuple(packed(step, job) for step in steps),
        _complete(execution, config),
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


def _portable(config: ContainerConfig, inputs: Inputs) -> ContainerConfig:
    """Return `config` without the path of a file on this machine."""
    if config.seccomp not in PROFILE_WORDS:
        text = "a label cannot carry a seccomp profile: name it again where the image is used"
        inputs.emit(events.Warning(text))
    return portable(config)
