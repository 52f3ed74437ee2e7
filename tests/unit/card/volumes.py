"""Helpers of the card's tests: a volume in a file of its own, and independent tools."""

from __future__ import annotations

import subprocess
from pathlib import Path

from piimage.card.extents import Extent
from piimage.card.image import Volume
from piimage.run import Runner

OFFSET = 3 << 20


def written(volume: Volume, folder: Path, name: str = "image") -> tuple[Path, tuple[Extent, ...]]:
    """Write the volume into an image; return a file with the volume alone, and its extents."""
    image = folder / name
    with image.open("wb") as file:
        file.truncate(OFFSET + volume.size + (1 << 20))
    extents = volume.write(Runner(), image, OFFSET)
    with image.open("rb") as file:
        assert file.read(OFFSET).count(0) == OFFSET
        data = file.read(volume.size)
        assert file.read().count(0) == 1 << 20
    alone = folder / f"{name}.alone"
    alone.write_bytes(data)
    return alone, extents


PATH = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


def tool(*words: str | Path) -> str:
    """Run a tool that must succeed; return its output."""
    done = subprocess.run(words, check=False, capture_output=True, env=PATH)
    assert done.returncode == 0, (done.stdout + done.stderr)[-800:]
    return done.stdout.decode(errors="replace")


def old_card(size: int) -> bytearray:
    """Return the content of a used card: random-like bytes, none of them zero."""
    return bytearray(b"\xa5\x5a\xff\x01" * (size // 4))


def flashed(alone: Path, extents: tuple[Extent, ...]) -> bytes:
    """Return a used card after only `extents` of the volume were written to it."""
    data = alone.read_bytes()
    card = old_card(len(data))
    for extent in extents:
        card[extent.start : extent.end] = data[extent.start : extent.end]
    return bytes(card)
