"""Helpers of the card's tests: a volume in a file of its own, and independent tools."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
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
    for start, size in ((0, OFFSET), (OFFSET + volume.size, 1 << 20)):
        assert not any(data.strip(b"\0") for _, data in stored(image, start, size))
    return part(image, folder / f"{name}.alone", OFFSET, volume.size), extents


def stored(file: Path, start: int, size: int) -> Iterator[tuple[int, bytes]]:
    """Yield what lies in the part of a sparse file: pieces and where they begin in the part."""
    with file.open("rb") as opened:
        end, at = start + size, start
        number = opened.fileno()
        while at < end and (at := _seek(number, at, os.SEEK_DATA, end)) < end:
            after = _seek(number, at, os.SEEK_HOLE, end)
            yield at - start, os.pread(number, after - at, at)
            at = after


def _seek(file: int, at: int, way: int, end: int) -> int:
    try:
        return min(os.lseek(file, at, way), end)
    except OSError:  # only a hole follows, lseek(2)
        return end


def part(file: Path, target: Path, start: int, size: int) -> Path:
    """Copy a part of `file` into a file of its own, which is as sparse."""
    with target.open("wb") as out:
        out.truncate(size)
        for at, data in stored(file, start, size):
            os.pwrite(out.fileno(), data, at)
    return target


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
