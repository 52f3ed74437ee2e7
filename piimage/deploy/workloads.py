"""Services as images with settings: what targets get that run no system of piimage's own."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from piimage.build import Project, make_steps, plan
from piimage.compose.containers import ContainerPlan
from piimage.config.container import ContainerConfig
from piimage.config.values import key_of
from piimage.container.rootfs import ProcessUser
from piimage.container.spec import ROOTS, Container, run_as
from piimage.errors import InputError, raise_all
from piimage.events import Note
from piimage.formats.images import Images, image
from piimage.locking.resolve import Sources
from piimage.oci.layout import Image, Layout
from piimage.plan.localtime import LOCAL_TIME
from piimage.plan.slot import Version
from piimage.steps import Job

_VOLUMES: Final = f"{ROOTS}/volumes/"
_PLACES: Final = ("/run/piimage", "/data/piimage", "/etc/piimage")
"""What a container of piimage's own system reaches into, and no other system has."""


@dataclass(frozen=True)
class Workload:
    """A service: its image, who it runs as, and everything that its entry decided."""

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
    project: Project, sources: Sources, wanted: Collection[str] = ()
) -> tuple[Workload, ...]:
    """Make the images of a project's services, and nothing of its system; return the services.

    `wanted` are those of them that are meant, if not all. What only makes sense on piimage's own
    system is left out and named. Raises InputError ``deploy.beyond-target`` if it is wanted.
    """
    version = plan(project, sources)
    kept, left_out = for_others(version.containers.containers)
    raise_all(_serves_system(one) for one in left_out if one.name in wanted)
    if left_out:
        sources.emit(Note(_told(left_out)))
    kept = tuple(one for one in kept if not wanted or one.name in wanted)
    version = replace(version, containers=replace(version.containers, containers=kept))
    layers = {layer.key: layer for one in version.containers.containers for layer in one.layers}
    steps = (*layers.values(), *Images().steps(version))
    return workloads(version, make_steps(steps, project, sources))


def workloads(version: Version, job: Job) -> tuple[Workload, ...]:
    """Return the services of a version whose container layers and their archives are made."""
    layout, ids = Layout(job.store), version.containers.ids
    return tuple(
        _workload(plan, layout, job, ids)
        for plan in version.containers.containers
        if plan.kind == "services"
    )


def for_others(
    containers: Iterable[ContainerPlan],
) -> tuple[tuple[ContainerPlan, ...], tuple[ContainerPlan, ...]]:
    """Return what other systems are to run, and what makes sense on piimage's own alone.

    Those are containers that set it up: what runs once, and services that say so or reach into it.
    """
    found = tuple(containers)
    kept = tuple(one for one in found if one.kind == "services" and not _is_systems(one))
    return kept, tuple(one for one in found if one not in kept)


def _is_systems(plan: ContainerPlan) -> bool:
    config = plan.config
    if config.system is not None:
        return config.system
    binds = (bind for bind in config.binds or () if bind != LOCAL_TIME)
    sources = {bind.partition(":")[0] for bind in binds}
    return any(one == place or one.startswith(f"{place}/") for one in sources for place in _PLACES)


def _told(left_out: Iterable[ContainerPlan]) -> str:
    names = (one.name if one.kind == "services" else f"{one.name} ({one.kind})" for one in left_out)
    return f"left out, for it only makes sense on piimage's own system: {', '.join(names)}"


def _serves_system(plan: ContainerPlan) -> InputError:
    return InputError(
        "deploy.beyond-target",
        f"{plan.name} only makes sense on piimage's own system",
        place=plan.place,
        hint="leave it out of --service for this target; if it is for others too: system: false",
    )


def _workload(plan: ContainerPlan, layout: Layout, job: Job, ids: Mapping[str, int]) -> Workload:
    container = _elsewhere(plan.container(job))
    # What the entry says in place of the image: engines would lay the two over one another.
    said: dict[str, None] = {}
    if container.config.command is not None:
        said |= {"entrypoint": None, "cmd": None}
    if container.config.env is not None:
        said |= {"env": None}
    execution = plan.execution.model_copy(update=said)
    own = image(replace(plan, execution=execution), layout, job)
    return Workload(container, run_as(container, ids), own)


def _elsewhere(container: Container) -> Container:
    """Return `container` without the time zone of piimage's own system."""
    config = container.config
    kept = tuple(bind for bind in config.binds or () if bind != LOCAL_TIME)
    return replace(container, config=config.model_copy(update={"binds": kept}))


def refusals(workload: Workload, unknown: Iterable[str], target: str) -> Iterator[InputError]:
    """Give InputError ``deploy.beyond-target`` for each of the fields `unknown` that is said.

    A container that would run with less than the file says is not deployed at all.
    """
    for name in unknown:
        if getattr(workload.config, name):
            yield beyond(workload, key_of(name), target)
    if any(bind.startswith(_VOLUMES) for bind in workload.config.binds or ()):
        yield beyond(workload, "binds: a volume from an image", target)


def beyond(workload: Workload, what: str, target: str) -> InputError:
    """Return the error for something that `target` cannot do."""
    return InputError(
        "deploy.beyond-target",
        f"{target} cannot do `{what}` of {workload.name}",
        place=workload.container.place,
        hint=f"leave `{what}` out for this target, or deploy to a Pi that runs piimage's system",
    )
