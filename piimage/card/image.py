"""A card image: partition table and volumes in one sparse file, and its block map beside it."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from piimage import host
from piimage.card import bmap, partitions
from piimage.card.extents import Extent
from piimage.run import Runner


class Volume(Protocol):
    """What a partition holds: FatVolume and Ext4Volume are volumes."""

    @property
    def kind(self) -> int:
        """The type in the partition table."""
        ...

    @property
    def size(self) -> int:
        """The partition's size in bytes."""
        ...

    def write(self, runner: Runner, image: Path, offset: int) -> tuple[Extent, ...]:
        """Write it into `image` at `offset`; return what must reach a medium."""
        ...


@dataclass(frozen=True)
class CardPlan:
    """A card: its volumes in the order of their partitions (the first is p1).

    `identity` is any text that is equal when and only when the content is (a digest of all
    inputs). `disk_id` is the 32-bit number in the MBR by which the Pi finds the card.
    """

    identity: str
    disk_id: int
    volumes: tuple[Volume, ...]


@dataclass(frozen=True)
class Card:
    """A finished card image, and what of it a medium must get."""

    image: Path
    map_file: Path
    map: bmap.BlockMap


def map_path(image: Path) -> Path:
    """Return where the block map of `image` lies: pi4.img has pi4.bmap."""
    return image.with_suffix(".bmap")


def write_card(
    runner: Runner,
    plan: CardPlan,
    target: Path,
    check: Callable[[Path], None] = lambda draft: None,
) -> Card:
    """Write `plan` as the sparse image `target` and its block map beside it.

    The image appears whole or not at all, and only if `check` does not refuse it; the bytes follow
    from the plan alone. Raises what the volumes and `check` raise, and InputError
    ``card.partitions``.
    """
    placed = partitions.lay_out((volume.kind, volume.size) for volume in plan.volumes)
    table = partitions.Table(plan.disk_id, dict(enumerate(placed, start=1)))
    with _beside(target) as draft:
        os.truncate(draft, table.end)
        extents = [Extent(0, partitions.ALIGNMENT)]
        with ThreadPoolExecutor(2) as pool:
            jobs = [
                (place.start, pool.submit(volume.write, runner, draft, place.start))
                for volume, place in zip(plan.volumes, placed, strict=True)
            ]
            for start, job in jobs:
                extents += [extent.moved(start) for extent in job.result()]
        with draft.open("r+b") as file:
            file.write(partitions.encode(table))
            file.flush()
            found = bmap.measure(file, table.end, extents)
            os.fsync(file.fileno())
        check(draft)
        map_path(target).unlink(missing_ok=True)  # it must not describe another image
        draft.replace(target)
    with _beside(map_path(target)) as draft:
        draft.write_bytes(bmap.encode(found))
        draft.replace(map_path(target))
    return Card(target, map_path(target), found)


@contextlib.contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """Give an empty file in the folder of `target`, which is gone afterwards unless renamed."""
    with host.writing(target):
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.stem}-")
        draft = Path(name)
        try:
            os.fchmod(handle, 0o644)
            os.close(handle)
            with host.writing(target, None, draft):
                yield draft
        finally:
            draft.unlink(missing_ok=True)
