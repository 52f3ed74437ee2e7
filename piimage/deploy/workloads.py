"""Services as images with settings: what targets get that run no system of piimage's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from piimage.build import Project, make_steps, plan
from piimage.compose.containers import ContainerPlan, decided
from piimage.config.container import ContainerConfig
from piimage.config.values import key_of
from piimage.errors import InputError
from piimage.formats.images import Images, image
from piimage.locking import Sources
from piimage.oci.layout import Image, Layout
from piimage.oci.models import Execution
from piimage.oci.rootfs import User
from piimage.oci.spec import ROOTS, Container, run_as
from piimage.plan.localtime import LOCAL_TIME
from piimage.plan.slot import Version
from piimage.steps import Job

_VOLUMES: Final = f"{ROOTS}/volumes/"


@dataclass(frozen=True)
class Workload:
    """A service: its image, who it runs as, and everything that its entry decided."""

    container: Container
    user: User
    image: Image

    @property
    def name(self) -> str:
        """The service's name."""
        return self.container.name

    @property
    def config(self) -> ContainerConfig:
        """The merged settings."""
        return self.container.config


def build_workloads(project: Project, sources: Sources) -> tuple[Workload, ...]:
    """Make the images of a project's services, and nothing of its system; return the services."""
    version = plan(project, sources)
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


def _workload(plan: ContainerPlan, layout: Layout, job: Job, ids: Mapping[str, int]) -> Workload:
    container = _elsewhere(decided(plan, job))
    # What the entry says in place of the image: engines would lay the two over one another.
    said: dict[str, None] = {}
    if container.config.command is not None:
        said |= {"entrypoint": None, "cmd": None}
    if container.config.env is not None:
        said |= {"env": None}
    execution = Execution.model_validate_json(plan.execution).model_copy(update=said)
    text = execution.model_dump_json(by_alias=True, exclude_none=True)
    own = image(replace(plan, execution=text), layout, job)
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
