"""The verb `build`: from YAML files to a card image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from piimage import events
from piimage.boards import Board, load_board, search_path
from piimage.card.hostkey import make_host_key
from piimage.card.image import Card, CardPlan, write_card
from piimage.config.models import Appliance
from piimage.firmware.reader import require_bootable
from piimage.formats.chosen import Chosen
from piimage.lock import Lock, require_current
from piimage.locking.dockerfiles import folders_of
from piimage.locking.resolve import (
    Sources,
    asked,
    asked_images,
    existing_lock,
    lock_path,
    make_lock,
    write_lock,
)
from piimage.locking.wheels import asked_sources, asked_wheels, fetch_wheels, folders_with_wheels
from piimage.plan.containers import plan_containers
from piimage.plan.slot import Version, card_plan
from piimage.plan.system import plan_system
from piimage.results import results
from piimage.run import Runner
from piimage.steps import Builder, Job, Step


@dataclass(frozen=True)
class Project:
    """An appliance with its board and its lock: everything that a build depends on."""

    appliance: Appliance
    board: Board
    lock: Lock
    name: str


def open_project(files: Sequence[Path], appliance: Appliance, sources: Sources) -> Project:
    """Return the project of `appliance`, read from `files`; its lock is made if it has none.

    Raises InputError ``lock.outgrown`` when the file asks for other things than were locked.
    """
    board = load_board(appliance.board, search_path(files))
    path = lock_path(files)
    lock = existing_lock(path)
    if lock is None:
        lock = make_lock(appliance, board, sources, None)
        write_lock(lock, path)
        sources.emit(events.Note(f"locked {len(lock.packages)} packages in {path}"))
    images = asked_images(appliance)
    folders = folders_with_wheels(appliance)
    wheels, built = asked_wheels(folders), asked_sources(folders)
    require_current(lock, asked(appliance, board, lock), images, wheels, built, place=str(path))
    return Project(appliance, board, lock, files[-1].stem)


def plan(project: Project, sources: Sources) -> Version:
    """Return the version to be made; images that it needs are pulled first."""
    pulled = sources.images().have(project.lock.images)
    built = sources.dockerfiles().build(folders_of(project.appliance), pulled)
    images = {**pulled, **built}
    return Version(
        project.name,
        project.appliance,
        project.board,
        plan_system(project.appliance, project.board, project.lock, images),
        plan_containers(project.appliance, project.lock, images),
    )


def make(version: Version, project: Project, sources: Sources, more: Sequence[Step] = ()) -> Job:
    """Make the version and the steps `more`, after fetching what that takes."""
    return make_steps((*version.steps(), *more), project, sources)


def make_steps(steps: Sequence[Step], project: Project, sources: Sources) -> Job:
    """Make `steps`, after fetching the project's packages that they need."""
    builder = Builder(sources.store, sources.runner, sources.emit)
    waiting = builder.pending(*steps)
    wanted = {blob.sha256 for step in waiting for blob in step.blobs()}
    packages = [one for one in project.lock.packages if one.sha256 in wanted]
    if not all(sources.store.has(one.blob) for one in packages):
        sources.fetcher().fetch(packages)
    fetch_wheels(project.lock, wanted, sources.store, sources.wheels)
    return builder.build(*steps)


def build_card(project: Project, sources: Sources, out: Path) -> Card:
    """Build the card image ``OUT/NAME.img``, and beside it what `results` says of it."""
    card = build(project, sources, out, Chosen()).card
    assert card is not None  # noqa: S101  # it was asked for
    return card


def _write_card(version: Version, layout: CardPlan, target: Path, runner: Runner) -> Card:
    """Write a card that every model of the board starts."""

    def check(draft: Path) -> None:
        require_bootable(draft, version.board, runner, origin=str(target))

    return write_card(runner, layout, target, check, version.file_mode)


@dataclass(frozen=True)
class Outputs:
    """What a build wrote: all files, and the card if one was asked for."""

    paths: tuple[Path, ...]
    card: Card | None


def build(project: Project, sources: Sources, out: Path, chosen: Chosen) -> Outputs:
    """Write the `chosen` forms, the bills of materials and the manifest into the folder `out`."""
    host_key = project.appliance.ssh.host_key
    if host_key is not None and not Path(host_key).exists():
        make_host_key(Path(host_key), sources.runner)
    version = plan(project, sources)
    job = make(version, project, sources, chosen.steps(version))
    out.mkdir(parents=True, exist_ok=True)
    layout = card_plan(version, job)
    target = out / f"{project.name}.img"
    card = _write_card(version, layout, target, sources.runner) if chosen.card else None
    paths = (
        *((card.image, card.map_file) if card else ()),
        *(chosen.list_for_imager(card, version) if card else ()),
        *chosen.write(version, job, project.name, out),
        *results(project.name, version, project.lock, job, out).write(),
    )
    return Outputs(paths, card)
