"""Recipes: what the bytes of a slot are, so that a Pi can lay it out from files that it has.

Their form is described in appliance/agent/lib/piimage_agent/recipe.py.
"""

from __future__ import annotations

import array
import hashlib
import itertools
import json
import mmap
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from piimage.card.extents import Extent
from piimage.card.fat import FatVolume
from piimage.card.fat_layout import SECTOR, Layout
from piimage.firmware.fat import FatReader
from piimage.run import Runner

_WORD: Final = 4


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


def make_recipe(volume: FatVolume, start: int, runner: Runner, scratch: Path) -> Recipe:
    """Return the recipe for `volume` in the partition at byte `start` of a card.

    Writes the volume into a sparse file in the folder `scratch`. A file that is smaller than a
    cluster is part of the recipe, as are the tables and folders of the file system. Raises the
    errors of `FatVolume.write`.
    """
    image = scratch / "slot.img"
    with image.open("wb") as file:
        file.truncate(start + volume.size)
    used = volume.write(runner, image, start)
    with image.open("rb") as file:
        file.seek(start)
        layout = Layout.read(file.read(SECTOR))
        files = {}
        parts: list[tuple[int, int, str]] = []
        for at, content in _placed(volume, image, start, layout.cluster):
            digest, size = _digest_and_size(content)
            files[digest] = content
            parts.append((at, size, digest))
        parts.sort()
        taken = [Extent(at, at + _padded(size, layout.cluster)) for at, size, _ in parts]
        literals = list(_without(used, taken))
        raw = bytearray()
        for extent in literals:
            file.seek(start + extent.start)
            raw += file.read(extent.end - extent.start)
    image.unlink()
    line = json.dumps(
        {
            "size": volume.size,
            "cluster": layout.cluster,
            "files": parts,
            "literals": [(extent.start, extent.end - extent.start) for extent in literals],
        },
        separators=(",", ":"),
    )
    data = line.encode() + b"\n" + zlib.compress(delta(bytes(raw)), 9)
    return Recipe(data, files, len(raw) + sum(extent.end - extent.start for extent in taken))


def _placed(
    volume: FatVolume, image: Path, start: int, cluster: int
) -> Iterator[tuple[int, Path | bytes]]:
    """Yield the offset and the content of each larger file that lies in one piece."""
    with image.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data:
        reader = FatReader(data, start, volume.size, volume.name)
        for path, content in volume.files.items():
            if (len(content) if isinstance(content, bytes) else content.stat().st_size) < cluster:
                continue
            pieces = reader.pieces(path)
            if len(pieces) == 1:
                yield pieces[0][0], content


def _digest_and_size(content: Path | bytes) -> tuple[str, int]:
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest(), len(content)
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), content.stat().st_size


def _padded(size: int, cluster: int) -> int:
    return -(-size // cluster) * cluster


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
    found.extend((b - a) & 0xFFFFFFFF for a, b in itertools.pairwise(words))
    if sys.byteorder == "big":
        found.byteswap()
    return found.tobytes()
