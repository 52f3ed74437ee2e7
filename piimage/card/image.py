"""A card image: partition table and volumes in one sparse file, and its block map beside it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from piimage import durable
from piimage.card import bmap, partitions, tables
from piimage.card.extents import Extent
from piimage.errors import InputError
from piimage.run import Runner


class Volume(Protocol):
    """The file system of a partition: a FatVolume or an Ext4Volume."""

    @property
    def kind(self) -> int:
        """The type in the partition table."""
        ...

    @property
    def size(self) -> int:
        """The partition's size in bytes."""
        ...

    def write(self, runner: Runner, image: Path, offset: int) -> tuple[Extent, ...]:
        """Write it into `image` at `offset`; return the parts that must be written to a medium."""
        ...


@dataclass(frozen=True)
class CardPlan:
    """A card: its volumes in the order of their partitions (the first is p1).

    `identity` is a text that identifies the content (a digest of all inputs). `disk_id` is the
    32-bit number in the partition table by which the system identifies the card; `table` is the
    form of that table, of `tables.FORMS`. The first partition begins at byte `start`; `raw` are
    files before it, by the bytes at which they begin.
    """

    identity: str
    disk_id: int
    volumes: tuple[Volume, ...]
    table: str = "mbr"
    start: int = partitions.ALIGNMENT
    raw: Mapping[int, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Card:
    """A finished card image with its block map."""

    image: Path
    map_file: Path
    map: bmap.BlockMap


def map_path(image: Path) -> Path:
    """Return the path of the block map of `image`: pi4.bmap for pi4.img."""
    return image.with_suffix(".bmap")


def write_card(
    runner: Runner,
    plan: CardPlan,
    target: Path,
    check: Callable[[Path], None] = lambda draft: None,
    mode: int = durable.PUBLIC,
) -> Card:
    """Write `plan` as the sparse image `target` and its block map beside it, both with `mode`.

    The image appears completely or not at all, and only if `check` does not refuse it; until then
    it is private. The bytes depend on the plan alone. Raises InputError ``card.partitions``,
    ``card.raw``, and the errors of the volumes and of `check`.
    """
    sizes = ((volume.kind, volume.size) for volume in plan.volumes)
    placed = partitions.lay_out(sizes, plan.start)
    table = partitions.Table(plan.disk_id, dict(enumerate(placed, start=1)))
    form = tables.FORMS[plan.table]
    size = form.disk_size(table)
    sectors = form.encode(table, size)
    raw = {at: path.read_bytes() for at, path in plan.raw.items()}
    _require_apart(plan, [*sectors.items(), *raw.items()])
    with durable.beside(target, mode) as draft:
        os.truncate(draft, size)
        extents = [Extent(0, partitions.ALIGNMENT)]
        with ThreadPoolExecutor(2) as pool:
            jobs = [
                (partition.start, pool.submit(volume.write, runner, draft, partition.start))
                for volume, partition in zip(plan.volumes, placed, strict=True)
            ]
            for start, job in jobs:
                extents += [extent.moved(start) for extent in job.result()]
        with draft.open("r+b") as file:
            for start, content in (*sectors.items(), *raw.items()):
                file.seek(start)
                file.write(content)
                extents.append(Extent(start, start + len(content)))
            file.flush()
            block_map = bmap.measure(file, size, extents)
        check(draft)
        map_path(target).unlink(missing_ok=True)  # the old map does not describe the new image
        durable.sync_folder(target.parent)
    durable.write_chunks(map_path(target), [bmap.encode(block_map)], mode)
    return Card(target, map_path(target), block_map)


def _require_apart(plan: CardPlan, pieces: Iterable[tuple[int, bytes]]) -> None:
    """Raise InputError ``card.raw`` if a raw file reaches into the table or the first partition."""
    end = 0
    for at, content in sorted(pieces):
        if at in plan.raw and (at < end or at + len(content) > plan.start):
            raise InputError(
                "card.raw",
                f"the {len(content)} bytes of {plan.raw[at].name} at byte {at} reach into the "
                "partition table or the first partition",
                hint="correct firmware: raw: or layout: start_mib: in the file of the board",
            )
        end = max(end, at + len(content))
