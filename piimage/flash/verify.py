"""Reads a card back, and diagnoses a card that returns other bytes."""

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
_PROBES: Final = 8  # blocks of a faulty piece that are searched for in the image


@dataclass(frozen=True)
class Written:
    """A piece that was written, and the SHA-256 of its bytes."""

    extent: Extent
    checksum: bytes


def check(
    medium: Medium, written: list[Written], image: Image, runner: Runner, emit: events.Listener
) -> None:
    """Read all of `written` from the medium and compare the checksums.

    Raises PiimageError ``flash.mismatch`` with the first range that differs, or
    ``flash.fake-card`` if that range holds bytes of a higher address.
    """
    reader = _Reader(medium, written, emit)
    with ThreadPoolExecutor(_READERS) as pool:
        for job in [pool.submit(reader.run) for _ in range(_READERS)]:
            job.result()
    if reader.bad:
        raise _diagnosis(medium, min(reader.bad, key=lambda w: w.extent), image, runner)


class _Reader:
    """Compares pieces in the order of the medium; several threads share one reader."""

    def __init__(self, medium: Medium, written: list[Written], emit: events.Listener) -> None:
        self.bad: list[Written] = []
        self._medium = medium
        self._pending = iter(written)
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
                piece = next(self._pending, None)
            if piece is None:
                return
            yield piece


def _read(medium: Medium, extent: Extent, memory: memoryview) -> memoryview:
    size = -(-extent.size // medium.sector) * medium.sector
    medium.read(extent.start, memory[:size])
    return memory[: extent.size]


def mismatch(medium: Medium, extent: Extent, reason: str) -> PiimageError:
    """Return the error for bytes that differ from those that were written."""
    return PiimageError(
        "flash.mismatch",
        f"bytes {extent.start} to {extent.end - 1} differ from what was written: {reason}",
        place=medium.path,
        hint="the card is worn or fake, or the reader is faulty: try another; this card does not "
        "boot now",
    )


def _diagnosis(medium: Medium, bad: Written, image: Image, runner: Runner) -> PiimageError:
    """Return the error for the piece `bad`, after reading the image again."""
    actual = bytes(_read(medium, bad.extent, buffer()))
    expected = next(
        (data for extent, data in _contents(image, runner) if extent == bad.extent),
        bytes(len(actual)),
    )
    foreign = _foreign_blocks(actual, expected)
    origins: list[tuple[int, int]] = []
    for extent, data in _contents(image, runner):
        for offset, block in foreign.items():
            position = data.find(block)
            if position >= 0:
                origins.append((bad.extent.start + offset, extent.start + position))
    if real := _wrap_distance(origins):
        return stamp.fake_card(medium, real)
    return _plain_mismatch(medium, bad.extent, actual, expected)


def _contents(image: Image, runner: Runner) -> Iterator[tuple[Extent, bytes]]:
    buffers = Buffers(2)
    for piece in pieces(image, runner, buffers):
        yield piece.extent, bytes(piece.data)
        buffers.give(piece.whole)


def _foreign_blocks(actual: bytes, expected: bytes) -> dict[int, bytes]:
    """Return a few wrong blocks by offset; each is varied enough to be found elsewhere."""
    foreign: dict[int, bytes] = {}
    for offset in range(0, len(actual) - _BLOCK + 1, _BLOCK):
        block = actual[offset : offset + _BLOCK]
        if block != expected[offset : offset + _BLOCK] and len(set(block)) > 16:
            foreign[offset] = block
            if len(foreign) == _PROBES:
                break
    return foreign


def _wrap_distance(origins: list[tuple[int, int]]) -> int | None:
    """Return the smallest distance from a block's place to the higher address that it is of."""
    distances = {origin - place for place, origin in origins if origin > place}
    return min(distances) if distances else None


def _plain_mismatch(medium: Medium, extent: Extent, actual: bytes, expected: bytes) -> PiimageError:
    changed = _changed(actual, expected)
    count = len(changed) - changed.count(0)
    if not count:
        return mismatch(medium, extent, "two reads returned different bytes")
    first, end = len(changed) - len(changed.lstrip(b"\0")), len(changed.rstrip(b"\0"))
    differing = Extent(extent.start + first, extent.start + end)
    values = set(actual[first:end])
    if values <= {0x00} or values <= {0xFF}:
        return mismatch(medium, differing, "the bytes are blank")
    return mismatch(medium, differing, f"{count} bytes differ")


def _changed(actual: bytes, expected: bytes) -> bytes:
    """Return 0 for each byte that is equal; as numbers, megabytes are compared in no time."""
    both = int.from_bytes(actual, "big") ^ int.from_bytes(expected, "big")
    return both.to_bytes(len(actual), "big")
