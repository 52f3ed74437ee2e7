"""The verb `build`: from YAML files to a card image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from piimage.board import Board
from piimage.boards import load_board, search_path
from piimage.card.hostkey import make_host_key
from piimage.card.image import Card, CardPlan, write_card
from piimage.config.models import Appliance
from piimage.durable import temporary_folder
from piimage.firmware.reader import require_bootable
from piimage.formats.chosen import Chosen
from piimage.formats.disks import write_disks
from piimage.lock import Lock
from piimage.locking.appliance import LockableAppliance, lock_path
from piimage.locking.current import current_lock
from piimage.locking.dockerfiles import folders_of
from piimage.locking.fetching import make
from piimage.locking.inputs import Inputs
from piimage.plan.containers import plan_containers
from piimage.plan.slot import Version, card_plan, order_of
from piimage.plan.system import plan_system
from piimage.results import results
from piimage.run import Runner
from piimage.steps import Job


@dataclass(frozen=True)
class Project:
    """An appliance with its board and its lock: everything that a build depends on."""

    appliance: Appliance
    board: Board
    lock: Lock
    name: str


def open_project(files: Sequence[Path], appliance: Appliance, inputs: Inputs) -> Project:
    """Return the project of `appliance`, read from `files`; its lock is made if it is missing.

    Raises InputError ``lock.outgrown`` if the lock was made for something else.
    """
    board = load_board(appliance.board, search_path(files))
    lock = current_lock(LockableAppliance(appliance, board), lock_path(files), inputs)
    return Project(appliance, board, lock, files[-1].stem)


def plan(project: Project, inputs: Inputs) -> Version:
    """Return the version to be made; images that it needs are pulled first."""
    pulled = inputs.images().have(project.lock.images)
    built = inputs.dockerfiles().build(folders_of(project.appliance), pulled)
    images = {**pulled, **built}
    return Version(
        project.name,
        project.appliance,
        project.board,
        plan_system(project.appliance, project.board, project.lock, images),
        plan_containers(project.appliance, project.lock, images),
        order_of(project.appliance, project.lock),
    )


def build_card(project: Project, inputs: Inputs, out: Path) -> Card:
    """Build the card image ``OUT/NAME.img``, and beside it what `results` says of it."""
    card = build(project, inputs, out, Chosen()).card
    assert card is not None  # noqa: S101  # it was asked for
    return card


def _write_card(version: Version, layout: CardPlan, target: Path, runner: Runner) -> Card:
    """Write a card that every model of the board starts."""

    def check(draft: Path) -> None:
        require_bootable(draft, version.board, runner, origin=str(target))

    return write_card(runner, layout, target, check, version.file_mode)


def _disks(
    version: Version,
    layout: CardPlan,
    card: Card | None,
    target: Path,
    chosen: Chosen,
    runner: Runner,
) -> tuple[Path, ...]:
    """Write the disks that are chosen, from `card` or, without one, from a card for a moment."""
    if not chosen.disks:
        return ()
    if card is None:
        with temporary_folder(target.parent, ".card-") as scratch:
            made = _write_card(version, layout, scratch / target.name, runner)
            return _disks(version, layout, made, target, chosen, runner)
    forms, mode = chosen.disks, version.file_mode
    return write_disks(runner, forms, card.image, target, layout.identity, mode)


@dataclass(frozen=True)
class Outputs:
    """What a build wrote: all files, and the card if one was asked for; and what it made."""

    paths: tuple[Path, ...]
    card: Card | None
    version: Version
    job: Job


def build(project: Project, inputs: Inputs, out: Path, chosen: Chosen) -> Outputs:
    """Write the `chosen` forms, the bills of materials and the manifest into the folder `out`."""
    chosen.require_board(project.board)
    host_key = project.appliance.ssh.host_key
    if host_key is not None and not Path(host_key).exists():
        make_host_key(Path(host_key), inputs.runner)
    version = plan(project, inputs)
    job = make((*version.steps(), *chosen.steps(version)), project.lock, inputs)
    out.mkdir(parents=True, exist_ok=True)
    layout = card_plan(version, job)
    target = out / f"{project.name}.img"
    card = _write_card(version, layout, target, inputs.runner) if chosen.card else None
    disks = _disks(version, layout, card, target, chosen, inputs.runner)
    paths = (
        *((card.image, card.map_file) if card else ()),
        *disks,
        *(chosen.list_for_imager(card, version) if card else ()),
        *chosen.write(version, job, project.name, out),
        *results(project.name, version, project.lock, job, out).write(),
    )
    return Outputs(paths, card, version, job)
