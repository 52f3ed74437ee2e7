"""The image to flash as a stream of pieces: plain or compressed, mapped or whole."""

from __future__ import annotations

import hashlib
import lzma
import os
import queue
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from piimage import events, host
from piimage.card import bmap, tables
from piimage.card.extents import Extent
from piimage.errors import InputError, PiimageError
from piimage.flash import content, unpack
from piimage.flash.medium import BUFFER, buffer
from piimage.flash.unpack import Stream
from piimage.run import Runner

HEAD: Final = 1 << 20
"""The size of the start of a card, which is written last: partition table and boot code."""
_PACKED: Final = frozenset({".xz", ".zst", ".gz"})
_END: Final = 1 << 62
_PROBED: Final = 64 << 10  # bytes by which a format is recognised


@dataclass(frozen=True)
class Image:
    """An image file, with its block map if it has one.

    `size` is that of the uncompressed image, or None if it is unknown. `identity` is equal for
    equal files, so that an interrupted flash is resumed only with the image that began it.
    `packing` is the compression, detected by content.
    """

    path: Path
    map: bmap.BlockMap | None
    size: int | None
    identity: str
    packing: str = ""

    @property
    def mapped(self) -> int | None:
        """The number of bytes to write, or None if it is unknown."""
        return self.map.mapped if self.map else self.size

    def ranges(self) -> tuple[bmap.MappedRange, ...]:
        """Return the ranges to write; without a map, the whole image."""
        if self.map is not None:
            return self.map.ranges
        return (bmap.MappedRange(Extent(0, _END if self.size is None else self.size), None),)


@dataclass(frozen=True)
class Piece:
    """Bytes of the image that belong at `extent`; `whole` is a buffer that must be returned."""

    extent: Extent
    whole: memoryview
    checksum: bytes

    @property
    def data(self) -> memoryview:
        """The bytes themselves."""
        return self.whole[: self.extent.size]

    def until(self, end: int) -> Piece:
        """Return the part of the piece that lies before `end`."""
        extent = Extent(self.extent.start, end)
        return Piece(extent, self.whole, hashlib.sha256(self.whole[: extent.size]).digest())

    def padded(self, sector: int) -> memoryview:
        """Return the bytes, padded with zeros to a multiple of `sector` as direct I/O requires."""
        size = -(-self.extent.size // sector) * sector
        self.whole[self.extent.size : size] = bytes(size - self.extent.size)
        return self.whole[:size]


class Buffers:
    """A fixed number of buffers that reader and writer share, which limits the memory."""

    def __init__(self, count: int) -> None:
        self._free: queue.Queue[memoryview | None] = queue.Queue()
        for _ in range(count):
            self._free.put(buffer())

    def take(self) -> memoryview:
        """Wait for a free buffer; raise Stopped after a call of `stop`."""
        free = self._free.get()
        if free is None:
            self._free.put(None)
            raise Stopped
        return free

    def give(self, data: memoryview) -> None:
        """Return a buffer."""
        self._free.put(data)

    def stop(self) -> None:
        """End every `take` that waits, and all later ones."""
        self._free.put(None)


class Stopped(Exception):  # not an error: the other side has ended
    """The writer needs no more pieces."""


def find(path: Path) -> Image:
    """Return the image at `path`, with the block map beside it if there is one.

    The map of ``pi4.img.xz`` is ``pi4.bmap``, ``pi4.img.bmap`` or ``pi4.img.xz.bmap``. Raises
    InputError ``flash.no-image``, PiimageError ``card.bad-bmap``.
    """
    try:
        status = path.stat()
        with path.open("rb") as file:
            start = file.read(HEAD)
    except OSError as error:
        raise InputError(
            "flash.no-image",
            f"the image cannot be read: {error.strerror}",
            place=str(path),
            hint="give an image that `piimage build` made, or the YAML file itself",
        ) from None
    block_map = _block_map(path)
    packing = content.packing(start)
    size = block_map.image_size if block_map else None if packing else status.st_size
    if size == 0:
        raise InputError(
            "flash.no-image", "the image is empty", place=str(path), hint="build it again"
        )
    identity = os.fsencode(f"{path.name}\0{status.st_size}\0")
    identity += bmap.encode(block_map) if block_map else start
    return Image(path, block_map, size, hashlib.sha256(identity).hexdigest(), packing)


def checked(image: Image, runner: Runner, emit: events.Listener = events.ignore) -> Image:
    """Return `image` with its size, after checking that it is a card image.

    A compressed image without a block map is unpacked to its end, so that damage is found before
    anything is written. Raises InputError ``flash.other-format``, PiimageError
    ``flash.bad-table``, ``flash.bad-image``.
    """
    try:
        return _checked(image, runner, emit)
    except PiimageError as error:
        error.place = error.place or str(image.path)
        if error.code == "flash.bad-image":
            error.hint = "build or download it again; nothing was written"
        raise


def _checked(image: Image, runner: Runner, emit: events.Listener) -> Image:
    whole = buffer()
    place, title = str(image.path), f"unpack {image.path.name} to check that it is complete"
    end = image.ranges()[-1].extent.end if image.map and image.map.ranges else 0
    if not image.packing and image.path.stat().st_size < end:
        raise _damaged(image, f"its block map ends at byte {end - 1}, behind the end of the image")
    with _opened(image, runner) as stream:
        count = size = _fill(stream, whole[:HEAD], image)
        head = bytes(whole[: min(count, _PROBED)])
        content.require_card(head, image.size or _END, place)
        while count and image.size is None:
            count = _fill(stream, whole, image)
            size += count
            emit(events.Progress("flash-check", title, size, None))
    if image.size is not None:
        return image
    content.require_card(head, size, place)
    return replace(image, size=size)


@contextmanager
def _opened(image: Image, runner: Runner) -> Iterator[Stream]:
    with ExitStack() as stack:
        try:
            stream = stack.enter_context(unpack.opened(image.path, image.packing, runner))
        except (OSError, EOFError, ValueError) as error:
            raise _damaged(image, str(error)) from error
        yield stream


def _block_map(path: Path) -> bmap.BlockMap | None:
    names = [path.with_name(path.name + ".bmap")]
    stem = path
    while stem.suffix in {*_PACKED, ".img"}:
        stem = stem.with_suffix("")
        names.append(stem.with_name(stem.name + ".bmap"))
    for name in names:
        if name.is_file():
            return bmap.decode(name.read_bytes(), str(name))
    return None


def first_bytes(image: Image, runner: Runner) -> bytes:
    """Return the start of the unpacked image, which holds the partition table."""
    first = buffer()[: tables.HEAD]
    with _opened(image, runner) as stream:
        _fill(stream, first, image)
    return bytes(first)


def pieces(image: Image, runner: Runner, buffers: Buffers) -> Iterator[Piece]:
    """Give the pieces of the image in order, each at most BUFFER long; none crosses HEAD.

    Raises PiimageError ``flash.bad-image`` if the image is truncated or damaged, or differs from
    its block map.
    """
    with _opened(image, runner) as stream:
        offset = 0
        for mapped in image.ranges():
            offset = _skip(stream, offset, mapped.extent.start, image, buffers)
            check = hashlib.new(image.map.algorithm if image.map else "sha256")
            for extent in _cut(mapped.extent):
                whole = buffers.take()
                count = _read(stream, extent, whole, image)
                data = whole[:count]
                if mapped.checksum is not None:
                    check.update(data)
                # piimage's own maps have a checksum for each piece, which need not be hashed twice.
                same = mapped.checksum and mapped.extent == extent and check.name == "sha256"
                checksum = check.digest() if same else hashlib.sha256(data).digest()
                offset = extent.start + count
                yield Piece(Extent(extent.start, offset), whole, checksum)
                if offset < extent.end:
                    return
            if mapped.checksum not in (None, check.hexdigest()):
                start, last = mapped.extent.start, mapped.extent.end - 1
                raise _damaged(image, f"bytes {start} to {last} differ from its block map")


def _cut(extent: Extent) -> Iterator[Extent]:
    for piece in extent.pieces(BUFFER):
        if piece.start < HEAD < piece.end:
            yield Extent(piece.start, HEAD)
            yield Extent(HEAD, piece.end)
        else:
            yield piece


def _read(stream: Stream, extent: Extent, whole: memoryview, image: Image) -> int:
    """Fill `whole` with the bytes of `extent`; only an image of unknown size may end earlier."""
    count = _fill(stream, whole[: extent.size], image)
    if count < extent.size and image.size is not None:
        raise _damaged(image, f"it ends after {extent.start + count} of {image.size} bytes")
    return count


def _fill(stream: Stream, into: memoryview, image: Image) -> int:
    done = 0
    try:
        while done < len(into):
            count = stream.readinto(into[done:])
            if not count:
                break
            done += count
    except (OSError, EOFError, ValueError, lzma.LZMAError, zlib.error) as error:
        host.raise_host_error(error, str(image.path))
        raise _damaged(image, str(error)) from error
    return done


def _skip(stream: Stream, offset: int, target: int, image: Image, buffers: Buffers) -> int:
    if offset == target:
        return target
    if isinstance(stream, unpack.Plain):
        stream.seek(target)
        return target
    skipped = buffers.take()
    while offset < target:
        count = _fill(stream, skipped[: min(len(skipped), target - offset)], image)
        if not count:
            raise _damaged(image, f"it ends after {offset} of {image.size} bytes")
        offset += count
    buffers.give(skipped)
    return target


def _damaged(image: Image, reason: str) -> PiimageError:
    return PiimageError(
        "flash.bad-image",
        f"the image is damaged: {reason}",
        place=str(image.path),
        hint="build or download it again; the card does not boot now",
    )
