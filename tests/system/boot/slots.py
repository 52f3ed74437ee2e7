"""Cards with a version of the system in both slots."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from piimage.build import Project, plan
from piimage.card import partitions
from piimage.card.fat_folders import FolderedVolume, FolderSlot
from piimage.card.image import write_card
from piimage.firmware.writer import autoboot
from piimage.locking.fetching import make
from piimage.locking.inputs import Inputs
from piimage.plan.slot import card_plan, slots
from piimage.run import Runner

SLOT_A, SLOT_B = 2, 3


def with_two_slots(runner: Runner, image: Path, target: Path) -> Path:
    """Write the card `image` to `target`, with slot A copied to slot B, which a try boots."""
    shutil.copyfile(image, target)
    table = partitions.decode(image.read_bytes()[: partitions.SECTOR], image.stat().st_size, "card")
    own, other = (table.partitions[number] for number in (SLOT_A, SLOT_B))
    with target.open("r+b") as card:
        card.seek(own.start)
        content = card.read(own.size)
        card.seek(other.start)
        card.write(content[: other.size])
    name_slots(runner, target, table.partitions[1].start, SLOT_A, SLOT_B)
    return target


def name_slots(runner: Runner, card: Path, start: int, active: int, other: int) -> None:
    """Write autoboot.txt into the file system that begins at the byte `start` of `card`."""
    text = autoboot(active, other).encode()
    runner.run(["mcopy", "-o", "-i", f"{card}@@{start}", "-", "::autoboot.txt"], stdin=text)


def with_both_folders(project: Project, inputs: Inputs, target: Path) -> Path:
    """Write the card of `project` to `target`, with its version in both folders."""
    version = plan(project, inputs)
    job = make(version.steps(), project.lock, inputs)
    card, slot = card_plan(version, job), slots(version, job).volumes["b/"]
    first = card.volumes[0]
    assert isinstance(first, FolderedVolume)
    assert isinstance(slot, FolderSlot)
    both = replace(first, files={**first.files, **slot.volume.files})
    volumes = (both, *card.volumes[1:])
    return write_card(inputs.runner, replace(card, volumes=volumes), target).image
