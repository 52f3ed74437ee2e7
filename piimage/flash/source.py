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
from piimage.card import bmap
from piimage.card.extents import Extent
from piimage.errors import InputError, PiimageError
from piimage.flash import content, unpack
from piimage.flash.medium import BUFFER, buffer
from piimage.flash.unpack import Stream
from piimage.run import Runner

HEAD: Final = 1 << 20
"""The part of a card, from its start, that goes last: partition table and what boots it."""
_PACKED: Final = frozenset({".xz", ".zst", ".gz"})
_END: Final = 1 << 62
_LOOKED_AT: Final = 64 << 10


@dataclass(frozen=True)
class Image:
    """An image file, and its block map where there is one.

    `size` is that of the uncompressed image, None when nobody says; `identity` is equal for equal
    files, so that an interrupted flash is continued with the image that began it; `packing` is how
    it is compressed, by its content.
    """

    path: Path
    map: bmap.BlockMap | None
    size: int | None
    identity: str
    packing: str = ""

    @property
    def mapped(self) -> int | None:
        """How many bytes will be written, where that is known."""
        return self.map.mapped if self.map else self.size

    def ranges(self) -> tuple[bmap.MappedRange, ...]:
        """Return what is to be written; without a map, everything."""
        if self.map is not None:
            return self.map.ranges
        return (bmap.MappedRange(Extent(0, _END if self.size is None else self.size), None),)


@dataclass(frozen=True)
class Piece:
    """Bytes of the image that belong at `extent`, in a buffer that must be given back."""

    extent: Extent
    whole: memoryview
    checksum: bytes

    @property
    def data(self) -> memoryview:
        """The bytes themselves."""
        return self.whole[: self.extent.size]

    def padded(self, sector: int) -> memoryview:
        """Return the bytes with zeros up to a multiple of `sector`, as direct I/O wants them."""
        size = -(-self.extent.size // sector) * sector
        self.whole[self.extent.size : size] = bytes(size - self.extent.size)
        return self.whole[:size]


class Buffers:
    """A few buffers that go round between reader and writer, so that memory stays small."""

    def __init__(self, count: int) -> None:
        self._free: queue.Queue[memoryview | None] = queue.Queue()
        for _ in range(count):
            self._free.put(buffer())

    def take(self) -> memoryview:
        """Wait for a free buffer; raises Stopped once `stop` was called."""
        found = self._free.get()
        if found is None:
            self._free.put(None)
            raise Stopped
        return found

    def give(self, data: memoryview) -> None:
        """Give a buffer back."""
        self._free.put(data)

    def stop(self) -> None:
        """Let nobody wait any longer."""
        self._free.put(None)


class Stopped(Exception):  # no error: the other side has ended
    """The writer wants no more pieces."""


def find(path: Path) -> Image:
    """Return the image at `path` with the block map beside it.

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
    found = _map(path)
    packing = content.packing(start)
    size = found.image_size if found else None if packing else status.st_size
    if size == 0:
        raise InputError(
            "flash.no-image", "the image is empty", place=str(path), hint="build it again"
        )
    known = os.fsencode(f"{path.name}\0{status.st_size}\0")
    known += bmap.encode(found) if found else start
    return Image(path, found, size, hashlib.sha256(known).hexdigest(), packing)


def checked(image: Image, runner: Runner, emit: events.Listener = events.ignore) -> Image:
    """Return `image` with its size, once it is known to be that of a card.

    A compressed image without a block map is unpacked to its end, so that a damaged one is found
    before a byte is written. Raises InputError ``flash.other-format``, PiimageError
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
    place, title = str(image.path), f"unpack {image.path.name} to see that it is whole"
    ends = image.ranges()[-1].extent.end if image.map and image.map.ranges else 0
    if not image.packing and image.path.stat().st_size < ends:
        raise _damaged(image, f"its block map goes to byte {ends - 1}, which it has not")
    with _opened(image, runner) as stream:
        count = size = _fill(stream, whole[:HEAD], image)
        head = bytes(whole[: min(count, _LOOKED_AT)])
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


def _map(path: Path) -> bmap.BlockMap | None:
    names = [path.with_name(path.name + ".bmap")]
    stem = path
    while stem.suffix in {*_PACKED, ".img"}:
        stem = stem.with_suffix("")
        names.append(stem.with_name(stem.name + ".bmap"))
    for name in names:
        if name.is_file():
            return bmap.decode(name.read_bytes(), str(name))
    return None


def pieces(image: Image, runner: Runner, buffers: Buffers) -> Iterator[Piece]:
    """Give the image's pieces in order, at most BUFFER long and cut at HEAD.

    Raises PiimageError ``flash.bad-image`` when the image is cut short or damaged, or its bytes are
    not those that the block map promised.
    """
    with _opened(image, runner) as stream:
        at = 0
        for mapped in image.ranges():
            at = _skip(stream, at, mapped.extent.start, image, buffers)
            check = hashlib.new(image.map.algorithm if image.map else "sha256")
            for extent in _cut(mapped.extent):
                whole = buffers.take()
                count = _read(stream, extent, whole, image)
                data = whole[:count]
                if mapped.checksum is not None:
                    check.update(data)
                # Our own maps have a sum for each piece: then nothing is hashed twice.
                own = mapped.checksum and mapped.extent == extent and check.name == "sha256"
                checksum = check.digest() if own else hashlib.sha256(data).digest()
                at = extent.start + count
                yield Piece(Extent(extent.start, at), whole, checksum)
                if at < extent.end:
                    return
            if mapped.checksum not in (None, check.hexdigest()):
                where = f"bytes {mapped.extent.start} to {mapped.extent.end - 1}"
                raise _damaged(image, f"{where} are not those of its block map")


def _cut(extent: Extent) -> Iterator[Extent]:
    for piece in extent.pieces(BUFFER):
        if piece.start < HEAD < piece.end:
            yield Extent(piece.start, HEAD)
            yield Extent(HEAD, piece.end)
        else:
            yield piece


def _read(stream: Stream, extent: Extent, whole: memoryview, image: Image) -> int:
    """Fill `whole` with the bytes of `extent`; fewer only where an image of unknown size ends."""
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


def _skip(stream: Stream, at: int, to: int, image: Image, buffers: Buffers) -> int:
    if at == to:
        return to
    if isinstance(stream, unpack.Plain):
        stream.seek(to)
        return to
    rubbish = buffers.take()
    while at < to:
        count = _fill(stream, rubbish[: min(len(rubbish), to - at)], image)
        if not count:
            raise _damaged(image, f"it ends after {at} of {image.size} bytes")
        at += count
    buffers.give(rubbish)
    return to


def _damaged(image: Image, why: str) -> PiimageError:
    return PiimageError(
        "flash.bad-image",
        f"the image is damaged: {why}",
        place=str(image.path),
        hint="build or download it again; the card was left unbootable",
    )
