"""Writes an image to a card so that the card either holds all of it or does not boot.

The order makes that safe. First a stamp that no boot loader accepts overwrites the start of the
card. Then everything else is written and read back from the medium. The start follows last, and of
it the first block, which holds the partition table.
"""

from __future__ import annotations

import hashlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from piimage import events
from piimage.card.extents import Extent
from piimage.card.partitions import Partition
from piimage.errors import DeviceRefused, PiimageError
from piimage.flash import keep, stamp, verify
from piimage.flash.medium import Medium, buffer
from piimage.flash.source import HEAD, Buffers, Image, Piece, Stopped, pieces
from piimage.flash.verify import Written
from piimage.run import Runner

_BUFFERS: Final = 6
Amendment = Callable[[Medium, bytes], None]
_FIRST: Final = 4096  # bytes of the first block, which is written last


@dataclass(frozen=True)
class Flashed:
    """The result of a flash: bytes mapped, written (fewer if resumed) and verified; seconds.

    `digest` covers all pieces and their places: equal cards have equal digests.
    """

    mapped: int
    written: int
    verified: int
    write_seconds: float
    verify_seconds: float
    digest: str


def flash(
    medium: Medium,
    image: Image,
    runner: Runner,
    emit: events.Listener = events.ignore,
    *,
    resume: bool = False,
    amend: Amendment | None = None,
    kept: Partition | None = None,
) -> Flashed:
    """Write `image` to `medium` and read all of it back.

    The data partition `kept` of the card stays as it is; it is the last one of the image.

    With `resume`, the pieces that an interrupted flash of the same image wrote are kept. `amend`,
    if given, may change the card after its first MiB when it has been read back; it gets the bytes
    of the first MiB, which are not on the card yet. The card does not boot unless this returns.
    Raises PiimageError ``flash.bad-image``, ``flash.io-error``, ``flash.gone``, ``flash.mismatch``,
    ``flash.fake-card``, ``flash.ignores-writes``, ``flash.no-resume``, ``flash.interrupted``,
    DeviceRefused ``flash.too-small``.
    """
    try:
        return _flash(medium, image, runner, emit, resume=resume, amend=amend, kept=kept)
    except KeyboardInterrupt:
        raise PiimageError(
            "flash.interrupted",
            "the flash was interrupted; the card does not boot",
            place=medium.path,
            hint="continue with --resume, or start again",
        ) from None


def _flash(
    medium: Medium,
    image: Image,
    runner: Runner,
    emit: events.Listener,
    *,
    resume: bool,
    amend: Amendment | None,
    kept: Partition | None,
) -> Flashed:
    started = time.monotonic()
    if resume:
        _require_resumable(medium, image)
    stamp.put(medium, image.identity)
    head = buffer(HEAD)
    with _step(emit, "flash-write", f"writing {image.path.name}"):
        limit = kept.start if kept else None
        writer = _Writer(medium, image, head, emit, resume=resume, limit=limit)
        writer.run(runner)
        medium.flush()
        if kept is not None:
            keep.with_partition(head, medium.size, kept)
    medium.require_same_card()
    written = time.monotonic()
    with _step(emit, "flash-verify", "reading back"):
        verify.check(medium, writer.written, image, runner, emit)
        if not stamp.is_present(medium, image.identity):
            # Data that were written to a higher address went here.
            raise verify.mismatch(medium, Extent(0, HEAD), "later data overwrote them")
        if amend is not None:
            amend(medium, bytes(head))
        _finish(medium, image, head)
    medium.require_same_card()
    mapped = sum(piece.extent.size for piece in writer.written) + writer.head_bytes
    return Flashed(
        mapped,
        writer.bytes_written + HEAD,
        mapped,
        written - started,
        time.monotonic() - written,
        _digest(writer.written, head),
    )


@contextmanager
def _step(emit: events.Listener, name: str, title: str) -> Iterator[None]:
    started = time.monotonic()
    emit(events.StepStarted(name, title))
    yield
    emit(events.StepFinished(name, title, time.monotonic() - started))


def _require_resumable(medium: Medium, image: Image) -> None:
    if not stamp.is_interrupted(medium, image.identity):
        raise PiimageError(
            "flash.no-resume",
            "the card has no interrupted flash of this image",
            place=medium.path,
            hint="start again without --resume",
        )


def _finish(medium: Medium, image: Image, head: memoryview) -> None:
    """Write the start of the card, which makes it bootable, and verify it."""
    data = head[: min(HEAD, medium.size)]
    try:
        medium.write(_FIRST, data[_FIRST:])
        medium.flush()
        medium.write(0, data[:_FIRST])
        medium.flush()
        actual = buffer(HEAD)[: len(data)]
        medium.read(0, actual)
        if actual != data:
            raise verify.mismatch(medium, Extent(0, len(data)), "the card did not store them")
    except BaseException:
        _make_unbootable(medium, image)
        raise


def _make_unbootable(medium: Medium, image: Image) -> None:
    try:
        medium.write(0, stamp.stamp(image.identity, medium.size))
        medium.flush()
    except PiimageError:
        return  # the card no longer accepts writes; the first error is raised


def _digest(written: list[Written], head: memoryview) -> str:
    digest = hashlib.sha256(hashlib.sha256(head).digest())
    for piece in written:
        digest.update(f"{piece.extent.start} {piece.extent.end} ".encode() + piece.checksum)
    return digest.hexdigest()


class _Writer:
    """Writes pieces while another thread reads and hashes the next ones."""

    def __init__(
        self,
        medium: Medium,
        image: Image,
        head: memoryview,
        emit: events.Listener,
        *,
        resume: bool,
        limit: int | None,
    ) -> None:
        self._limit = limit
        self.written: list[Written] = []
        self.head_bytes = 0
        self.bytes_written = 0
        self._done = 0
        self._medium = medium
        self._image = image
        self._head = head
        self._emit = emit
        self._put: Callable[[int, memoryview], None] = (
            self._write_changed if resume else self._write
        )
        self._buffers = Buffers(_BUFFERS)
        self._ready: queue.Queue[Piece | BaseException | None] = queue.Queue()
        self._old = buffer() if resume else buffer(_FIRST)

    def run(self, runner: Runner) -> None:
        """Write all pieces except those of the head, which are kept in memory."""
        reader = threading.Thread(target=self._read, args=(runner,), daemon=True)
        reader.start()
        try:
            while (piece := self._ready.get()) is not None:
                if isinstance(piece, BaseException):
                    raise piece
                self._take(piece)
                self._buffers.give(piece.whole)
        finally:
            self._buffers.stop()
            reader.join()

    def _read(self, runner: Runner) -> None:
        try:
            for piece in pieces(self._image, runner, self._buffers):
                self._ready.put(piece)
            self._ready.put(None)
        except Stopped:
            return
        except BaseException as error:  # noqa: BLE001  # raised again by the writer
            self._ready.put(error)

    def _take(self, piece: Piece) -> None:
        if self._limit is not None and piece.extent.end > self._limit:
            if piece.extent.start >= self._limit:
                return
            piece = piece.until(self._limit)
        extent = piece.extent
        if extent.end <= HEAD:
            self._head[extent.start : extent.end] = piece.data
            self.head_bytes += extent.size
        else:
            data = piece.padded(self._medium.sector)
            if extent.start + len(data) > self._medium.size:
                raise _too_small(self._medium, extent.end)
            self._put(extent.start, data)
            self.written.append(Written(extent, piece.checksum))
        self._done += extent.size
        title = f"writing {self._image.path.name}"
        self._emit(events.Progress("flash-write", title, self._done, self._image.mapped))

    def _write(self, offset: int, data: memoryview) -> None:
        self._medium.write(offset, data)
        self.bytes_written += len(data)

    def _write_changed(self, offset: int, data: memoryview) -> None:
        """Write `data` if the medium holds other bytes."""
        old = self._old[: len(data)]
        self._medium.read(offset, old)
        if old != data:
            self._write(offset, data)


def _too_small(medium: Medium, needed: int) -> DeviceRefused:
    return DeviceRefused(
        "flash.too-small",
        f"it has {medium.size} bytes, but the image needs {needed} or more",
        place=medium.path,
        hint="use a larger card; this one does not boot now",
    )
