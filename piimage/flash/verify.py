"""Reading a card back, and saying what is wrong with one that gives other bytes."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from piimage import events
from piimage.card.extents import Extent
from piimage.errors import PiimageError
from piimage.flash import stamp
from piimage.flash.medium import Medium, buffer
from piimage.flash.source import Buffers, Image, pieces
from piimage.run import Runner

_READERS: Final = 2
_BLOCK: Final = 4096
_PROBES: Final = 8  # blocks of a faulty piece that are looked for elsewhere


@dataclass(frozen=True)
class Written:
    """A piece that was written, and the SHA-256 of its bytes."""

    extent: Extent
    checksum: bytes


def check(
    medium: Medium, written: list[Written], image: Image, runner: Runner, emit: events.Listener
) -> None:
    """Read all of `written` from the medium and compare.

    Raises PiimageError ``flash.mismatch`` with the first range that differs, or
    ``flash.fake-card`` when its bytes are those of another place.
    """
    reader = _Reader(medium, written, emit)
    with ThreadPoolExecutor(_READERS) as pool:
        for job in [pool.submit(reader.run) for _ in range(_READERS)]:
            job.result()
    if reader.bad:
        raise _diagnosis(medium, min(reader.bad, key=lambda w: w.extent), image, runner)


class _Reader:
    """Compares pieces, several at a time, each in the order of the medium."""

    def __init__(self, medium: Medium, written: list[Written], emit: events.Listener) -> None:
        self.bad: list[Written] = []
        self._medium = medium
        self._todo = iter(written)
        self._total = sum(piece.extent.size for piece in written)
        self._done = 0
        self._emit = emit
        self._lock = threading.Lock()

    def run(self) -> None:
        memory = buffer()
        for piece in self._pieces():
            data = _read(self._medium, piece.extent, memory)
            if hashlib.sha256(data).digest() != piece.checksum:
                self.bad.append(piece)
            with self._lock:
                self._done += piece.extent.size
                title = "reading back"
                self._emit(events.Progress("flash-verify", title, self._done, self._total))

    def _pieces(self) -> Iterator[Written]:
        while not self.bad:
            with self._lock:
                piece = next(self._todo, None)
            if piece is None:
                return
            yield piece


def _read(medium: Medium, extent: Extent, memory: memoryview) -> memoryview:
    size = -(-extent.size // medium.sector) * medium.sector
    medium.read(extent.start, memory[:size])
    return memory[: extent.size]


def mismatch(medium: Medium, extent: Extent, why: str) -> PiimageError:
    """Return the error for bytes that came back as others."""
    return PiimageError(
        "flash.mismatch",
        f"bytes {extent.start} to {extent.end - 1} are not what was written: {why}",
        place=medium.path,
        hint="worn or fake card, or a faulty reader: try another; it was left unbootable",
    )


def _diagnosis(medium: Medium, bad: Written, image: Image, runner: Runner) -> PiimageError:
    """Find out how the piece differs, with the image read once more."""
    found = bytes(_read(medium, bad.extent, buffer()))
    wanted = next(
        (data for extent, data in _again(image, runner) if extent == bad.extent), bytes(len(found))
    )
    foreign = _telling_blocks(found, wanted)
    origins: list[tuple[int, int]] = []
    for extent, data in _again(image, runner):
        for at, block in foreign.items():
            place = data.find(block)
            if place >= 0:
                origins.append((bad.extent.start + at, extent.start + place))
    if real := _wrap(origins):
        return stamp.fake(medium, real)
    return _plain_mismatch(medium, bad.extent, found, wanted)


def _again(image: Image, runner: Runner) -> Iterator[tuple[Extent, bytes]]:
    buffers = Buffers(2)
    for piece in pieces(image, runner, buffers):
        yield piece.extent, bytes(piece.data)
        buffers.give(piece.whole)


def _telling_blocks(found: bytes, wanted: bytes) -> dict[int, bytes]:
    """Return a few blocks, by place, that do not belong there and could be known elsewhere."""
    telling: dict[int, bytes] = {}
    for at in range(0, len(found) - _BLOCK + 1, _BLOCK):
        block = found[at : at + _BLOCK]
        if block != wanted[at : at + _BLOCK] and len(set(block)) > 16:
            telling[at] = block
            if len(telling) == _PROBES:
                break
    return telling


def _wrap(origins: list[tuple[int, int]]) -> int | None:
    """Return after how many bytes addresses begin again, if the places say one number."""
    distances = {later - place for place, later in origins if later > place}
    return min(distances) if distances else None


def _plain_mismatch(medium: Medium, extent: Extent, found: bytes, wanted: bytes) -> PiimageError:
    places = [at for at, (a, b) in enumerate(zip(found, wanted, strict=False)) if a != b]
    if not places:
        return mismatch(medium, extent, "they came back differently twice")
    differing = Extent(extent.start + places[0], extent.start + places[-1] + 1)
    values = set(found[places[0] : places[-1] + 1])
    if values <= {0x00} or values <= {0xFF}:
        return mismatch(medium, differing, "they came back empty")
    return mismatch(medium, differing, f"{len(places)} of them differ")
