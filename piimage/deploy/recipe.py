"""Recipes: what the bytes of a slot are, so that a Pi can lay it out from files that it has.

Their form is described in appliance/agent/lib/piimage_agent/recipe.py.
"""

from __future__ import annotations

import array
import hashlib
import json
import mmap
import operator
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from piimage.card.extents import Extent, total
from piimage.card.fat_layout import SECTOR, Layout
from piimage.firmware.fat import FatReader
from piimage.plan.slot import SlotVolume
from piimage.run import Runner

_WORD: Final = 4
_PAGE: Final = 4096
"""The first bytes of a slot, which a Pi writes last, and which are therefore sent literally."""
_OF_EVERY_VERSION: Final = frozenset({"appliance.json"})
"""Files that no other version has: packed in the recipe they are smaller than on their own."""


@dataclass(frozen=True)
class Recipe:
    """A slot as the parts that a Pi writes."""

    data: bytes
    """What is sent."""
    files: Mapping[str, Path | bytes]
    """The files that the Pi needs, by SHA-256: from its own slot, from /data, or sent."""
    length: int
    """The number of bytes that the Pi writes."""

    @property
    def digest(self) -> str:
        """The SHA-256 of the recipe, which names the version of the system on this partition."""
        return hashlib.sha256(self.data).hexdigest()


def make_recipe(
    volume: SlotVolume,
    start: int,
    pieces: Mapping[str, Path],
    runner: Runner,
    scratch: Path,
    order: tuple[int, int] = (0, 0),
) -> Recipe:
    """Return the recipe for the slot `volume` in the partition at byte `start` of a card.

    `pieces` has, for some of the volume's files, what they begin with: the rest of such a file is
    part of the recipe, as are files that are smaller than a cluster, and the tables and folders of
    the file system. Writes the volume into a sparse file in the folder `scratch`. `order` is the
    version's place among others. Raises the errors of `FatVolume.write`.
    """
    image = scratch / "slot.img"
    with image.open("wb") as empty:
        empty.truncate(start + volume.size)
    used = volume.write(runner, image, start)
    with image.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data:
        layout = Layout.read(data[start : start + SECTOR])
        head = volume.head(layout)
        reader = FatReader(data, start, volume.size, volume.name)
        every = _placed(volume, reader, pieces, layout.cluster)
        after_head = (placed for placed in every if placed.at >= head + _PAGE)
        files = sorted(after_head, key=lambda placed: placed.at)
        taken = [Extent(placed.at, placed.end) for placed in files]
        literals = list(_without(used, taken))
        raw = b"".join(data[start + extent.start : start + extent.end] for extent in literals)
    image.unlink()
    parts = {
        "size": volume.size,
        "files": [(placed.at, placed.size, placed.digest, placed.end) for placed in files],
        "literals": [(extent.start, extent.size) for extent in literals],
        "order": order,
        "head": head,
    }
    line = json.dumps(parts, separators=(",", ":")).encode()
    packed = line + b"\n" + zlib.compress(delta(raw), 9)
    sources = {placed.digest: placed.content for placed in files}
    return Recipe(packed, sources, len(raw) + total(taken))


@dataclass(frozen=True)
class _Placed:
    """A file, or what a file begins with, at an offset of the volume; zeros follow up to `end`."""

    at: int
    end: int
    content: Path | bytes
    size: int
    digest: str


def _placed(
    volume: SlotVolume, reader: FatReader, pieces: Mapping[str, Path], cluster: int
) -> Iterator[_Placed]:
    """Yield each larger file that lies in one run of clusters."""
    for path, whole in volume.files.items():
        runs = reader.pieces(volume.prefix + path)
        small = path in _OF_EVERY_VERSION or _size(whole) < cluster
        if len(runs) != 1 or (path not in pieces and small):
            continue
        at, length = runs[0]
        content = pieces.get(path, whole)
        size = _size(content)
        yield _Placed(
            at, at + (size if path in pieces else length), content, size, _digest(content)
        )


def _size(content: Path | bytes) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _digest(content: Path | bytes) -> str:
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _without(used: Iterable[Extent], taken: Iterable[Extent]) -> Iterator[Extent]:
    """Yield the parts of `used` that are not `taken`; both are in order, and nothing overlaps."""
    cuts = list(taken)
    for extent in used:
        at = extent.start
        for cut in cuts:
            if not extent.start <= cut.start < extent.end:
                continue
            if at < cut.start:
                yield Extent(at, cut.start)
            at = cut.end
        if at < extent.end:
            yield Extent(at, extent.end)


def delta(data: bytes) -> bytes:
    """Return the differences of successive little-endian 32-bit words of `data`.

    The table of a FAT32 counts clusters upwards, so that the differences are mostly 1.
    """
    words = array.array("I", data + bytes(-len(data) % _WORD))
    if sys.byteorder == "big":
        words.byteswap()
    found = array.array("I", words[:1])
    found.extend(map(0xFFFFFFFF.__and__, map(operator.sub, words[1:], words)))
    if sys.byteorder == "big":
        found.byteswap()
    return found.tobytes()
