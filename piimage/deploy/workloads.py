"""Services as images with settings, for targets that do not run piimage's own system."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from piimage.build import Project, plan
from piimage.compose.containers import ContainerPlan
from piimage.config.container import PROFILE_WORDS, ContainerConfig
from piimage.config.values import key_of
from piimage.container.bridge import is_bridged
from piimage.container.ids import has_range
from piimage.container.mounts import complete_mount
from piimage.container.rootfs import ProcessUser
from piimage.container.spec import ROOTS, Container, run_as
from piimage.errors import InputError, raise_all
from piimage.events import Note
from piimage.formats.images import Images, image
from piimage.locking.fetching import make
from piimage.locking.inputs import Inputs
from piimage.oci.layout import Image, Layout
from piimage.plan.bridge import NAME_BINDS
from piimage.plan.localtime import LOCAL_TIME
from piimage.plan.slot import Version
from piimage.steps import Job

_ADDED: Final = (LOCAL_TIME, *NAME_BINDS)
_MAPPINGS: Final = ("userns", "uid_mappings", "gid_mappings")
_VOLUMES: Final = f"{ROOTS}/volumes/"
_OWN_FOLDERS: Final = ("/run/piimage", "/data/piimage", "/etc/piimage")
"""Folders that only piimage's own system has."""


@dataclass(frozen=True)
class Workload:
    """A service: its image, its user, and the settings of its entry."""

    container: Container
    user: ProcessUser
    image: Image

    @property
    def name(self) -> str:
        """The service's name."""
        return self.container.name

    @property
    def config(self) -> ContainerConfig:
        """The merged settings."""
        return self.container.config


def build_workloads(
    project: Project, inputs: Inputs, names: Collection[str] = ()
) -> tuple[Workload, ...]:
    """Build the images of a project's services, but nothing of its system; return the services.

    `names` selects services; without it all are built. Services for piimage's own system are
    skipped with a note. Raises InputError ``deploy.beyond-target`` if `names` has one of them.
    """
    version = plan(project, inputs)
    portable, skipped = split_portable(version.containers.containers)
    raise_all(_not_portable(plan) for plan in skipped if plan.name in names)
    if skipped:
        inputs.emit(Note(_skipped(skipped)))
    selected = tuple(plan for plan in portable if not names or plan.name in names)
    version = replace(version, containers=replace(version.containers, containers=selected))
    layers = {layer.key: layer for plan in selected for layer in plan.layers}
    steps = (*layers.values(), *Images().steps(version))
    return workloads(version, make(steps, project.lock, inputs))


def workloads(version: Version, job: Job) -> tuple[Workload, ...]:
    """Return the services of a version whose layers and layer archives are made."""
    layout, ids = Layout(job.store), version.containers.ids
    return tuple(
        _workload(plan, layout, job, ids)
        for plan in version.containers.containers
        if plan.kind == "services"
    )


def split_portable(
    containers: Iterable[ContainerPlan],
) -> tuple[tuple[ContainerPlan, ...], tuple[ContainerPlan, ...]]:
    """Return the containers that can run on other systems, and those for piimage's own system.

    The latter run at boot or shutdown, have ``system: true`` or ``control: true``, or bind folders
    of the system.
    """
    plans = tuple(containers)
    portable = tuple(plan for plan in plans if plan.kind == "services" and not _needs_system(plan))
    return portable, tuple(plan for plan in plans if plan not in portable)


def _needs_system(plan: ContainerPlan) -> bool:
    config = plan.config
    if config.system is not None:
        return config.system
    if config.control:
        return True
    binds = (bind for bind in config.binds or () if bind not in _ADDED)
    sources = {bind.partition(":")[0] for bind in binds}
    return any(
        source == folder or source.startswith(f"{folder}/")
        for source in sources
        for folder in _OWN_FOLDERS
    )


def _skipped(plans: Iterable[ContainerPlan]) -> str:
    names = (
        plan.name if plan.kind == "services" else f"{plan.name} ({plan.kind})" for plan in plans
    )
    return f"skipped, because they need piimage's own system: {', '.join(names)}"


def _not_portable(plan: ContainerPlan) -> InputError:
    return InputError(
        "deploy.beyond-target",
        f"{plan.name} needs piimage's own system",
        place=plan.place,
        hint="omit it from --service for this target, or set system: false if it is portable",
    )


def _workload(plan: ContainerPlan, layout: Layout, job: Job, ids: Mapping[str, int]) -> Workload:
    container = _without_added(plan.container(job))
    return Workload(container, run_as(container, ids), image(plan, layout, job))


def _without_added(container: Container) -> Container:
    """Return `container` without the binds that each one has on piimage's own system."""
    config = container.config
    kept = tuple(bind for bind in config.binds or () if bind not in _ADDED)
    return replace(container, config=config.model_copy(update={"binds": kept}))


def unsupported_settings(
    workload: Workload, fields: Iterable[str], target: str
) -> Iterator[InputError]:
    """Yield InputError ``deploy.beyond-target`` for each setting that `target` does not support.

    These are the `fields` that are set, and what only piimage's own system can do. A container is
    not deployed without a setting of its entry.
    """
    config = workload.config
    mapped = has_range(config, workload.name)
    for name in fields:
        if getattr(config, name) and not (mapped and name in _MAPPINGS):
            yield beyond(workload, key_of(name), target)
    if mapped:
        yield beyond(workload, "userns: auto", target)
    if is_bridged(config):
        yield beyond(workload, f"net: {config.net}", target)
    if config.apparmor not in PROFILE_WORDS:
        yield beyond(workload, "apparmor: a file", target)
    if any(bind.startswith(_VOLUMES) for bind in config.binds or ()):
        yield beyond(workload, "binds: a volume from an image", target)
    for name in ("net", "ipc", "uts", "pid", "cgroupns"):
        if (getattr(config, name) or "").startswith("/"):
            yield beyond(workload, f"{name}: a path", target)
    for device in config.devices or ():
        if device.path == "all" or device.major is not None:
            yield beyond(workload, f"devices: {device.path} by number", target)
    for mount in config.mounts or ():
        if complete_mount(mount)["type"] not in ("bind", "tmpfs"):
            yield beyond(workload, f"mounts: type {mount.type}", target)


def beyond(workload: Workload, setting: str, target: str) -> InputError:
    """Return the error for a setting that `target` does not support."""
    return InputError(
        "deploy.beyond-target",
        f"{target} does not support `{setting}` of {workload.name}",
        place=workload.container.place,
        hint=f"omit `{setting}` for this target, or deploy to a Pi that runs piimage's system",
    )
