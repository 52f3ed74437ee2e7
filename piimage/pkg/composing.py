"""The image of a container folder with a service.yml, for one platform."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from piimage import events
from piimage.config.container import PROFILE_WORDS, ContainerConfig
from piimage.formats.layers import ImageLayer, packed
from piimage.lock import Lock
from piimage.locking.fetching import make
from piimage.locking.folders import ContainerFolder
from piimage.locking.inputs import Inputs
from piimage.locking.platforms import for_platform
from piimage.oci.models import Execution, Platform
from piimage.oci.pack import PackedLayer
from piimage.pkg.locking import folder
from piimage.pkg.source import AMD64, Source
from piimage.plan.composed import folder_parts
from piimage.sbom.ledger import Page

if TYPE_CHECKING:
    from piimage.config.service import Service

# Every amd64 program names this path of the loader; Debian's base-files would provide it.
_AMD64_LINKS: Mapping[str, str] = {"lib64": "usr/lib64"}


@dataclass(frozen=True)
class Parts:
    """The parts of an image for `platform`.

    `lock` and `pages` are for its bill: the pins, and the origins of the files in its layers.
    """

    platform: Platform
    layers: tuple[PackedLayer, ...]
    execution: Execution
    labels: Mapping[str, str]
    lock: Lock
    pages: tuple[Page, ...]


def compose(source: Source, platform: Platform, lock: Lock, inputs: Inputs) -> Parts:
    """Compose `source` from the packages of `lock`, which are fetched if need be.

    Raises InputError if service.yml or its packages are invalid.
    """
    described = folder(source)
    assert described is not None  # noqa: S101  # an engine builds Dockerfiles
    pins = for_platform(lock, platform)
    parts = folder_parts(_fitted(described, platform), pins)
    steps = tuple(ImageLayer(layer) for layer in parts.layers)
    job = make(steps, pins, inputs)
    _warn(parts.defaults, inputs)
    return Parts(
        platform,
        tuple(packed(step, job) for step in steps),
        parts.execution,
        parts.labels,
        pins,
        tuple(Page.decode(job.file(step, "files").read_bytes()) for step in steps),
    )


def _fitted(folder: ContainerFolder, platform: Platform) -> ContainerFolder:
    if platform != AMD64:
        return folder
    service: Service = folder.service
    links = {**_AMD64_LINKS, **service.links}
    return replace(folder, service=service.model_copy(update={"links": links}))


def _warn(config: ContainerConfig, inputs: Inputs) -> None:
    """Warn of the path of a file on this machine: the label leaves it out."""
    for kind, file in (("a seccomp", config.seccomp), ("an AppArmor", config.apparmor)):
        if file not in PROFILE_WORDS:
            text = f"a label cannot contain {kind} profile: name the file where the image is used"
            inputs.emit(events.Warning(text))
