"""Reads compressed images as one stream of bytes, as their formats define it.

A file may hold several consecutive streams of one format, with zeros between and after them (the
padding of .xz, and of tapes and disks). Any other data after a stream is an error.
"""

from __future__ import annotations

import lzma
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Protocol

from piimage.errors import InputError
from piimage.flash.content import MARKS, XZ, ZSTD
from piimage.flash.content import packing as packing_of
from piimage.inflate import MAX_LZMA, Decoder, Gunzip, unxz
from piimage.run import Runner
from piimage.store import CHUNK

_NO_MEMORY: Final = "Memory usage limit exceeded"  # liblzma's message for MAX_LZMA
_MAX_WINDOW: Final = 128 << 20
"""The largest window that zstd accepts by default (its manual, --memory)."""
_MARK: Final = {name: mark for mark, name in MARKS.items()}


class Stream(Protocol):
    """The source of an image's bytes."""

    def readinto(self, into: memoryview, /) -> int | None:
        """Read at most as many bytes as `into` has; 0 at the end."""
        ...


class _Decoder(Decoder, Protocol):
    @property
    def unused_data(self) -> bytes: ...


class _Pushback:
    """A file to which data can be returned that were read too early."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._data = b""

    def read(self, size: int, /) -> bytes:
        data, self._data = self._data[:size], self._data[size:]
        return data or self._file.read(size)

    def unread(self, data: bytes) -> None:
        self._data = data + self._data


class Streams:
    """The .xz or .gz streams in `file`; raises ValueError and EOFError for damaged ones."""

    def __init__(self, file: IO[bytes], packing: str) -> None:
        self._file = _Pushback(file)
        self._packing = packing
        self._make: Callable[[], _Decoder] = unxz if packing == XZ else Gunzip
        self._decoder: _Decoder | None = self._make()

    def readinto(self, into: memoryview, /) -> int:
        """Read at most as many bytes as `into` has; 0 at the end."""
        while self._decoder is not None:
            if self._decoder.eof:
                self._file.unread(self._decoder.unused_data)
                self._decoder = self._make() if self._has_next() else None
                continue
            data = self._file.read(CHUNK) if self._decoder.needs_input else b""
            if not data and self._decoder.needs_input:
                raise EOFError("its compressed data end too early")
            out = self._decompressed(self._decoder, data, len(into))
            if out:
                into[: len(out)] = out
                return len(out)
        return 0

    def _decompressed(self, decoder: _Decoder, data: bytes, limit: int) -> bytes:
        try:
            return decoder.decompress(data, limit)
        except lzma.LZMAError as error:
            if _NO_MEMORY not in str(error):
                raise
            raise too_much_memory(self._packing, MAX_LZMA) from None

    def _has_next(self) -> bool:
        """Return whether another stream follows; refuse any other data."""
        rest = b""
        while not rest:
            data = self._file.read(CHUNK)
            if not data:
                return False
            rest = data.lstrip(b"\0")
        mark = _MARK[self._packing]
        rest += self._file.read(len(mark))
        self._file.unread(rest)
        if not rest.startswith(mark):
            raise ValueError(trailing_data(self._packing))
        return True


@dataclass(frozen=True)
class Plain:
    """An uncompressed image."""

    descriptor: int

    def readinto(self, into: memoryview, /) -> int:
        """Read at most as many bytes as `into` has; 0 at the end."""
        return os.readv(self.descriptor, [into])

    def seek(self, offset: int) -> None:
        """Continue at `offset`."""
        os.lseek(self.descriptor, offset, os.SEEK_SET)


@dataclass(frozen=True)
class _Piped:
    """The output of a program that unpacks; a failure of the program is not the image's end."""

    process: subprocess.Popen[bytes]

    def readinto(self, into: memoryview, /) -> int:
        assert self.process.stdout is not None  # noqa: S101  # the runner made it a pipe
        count = os.readv(self.process.stdout.fileno(), [into])
        if not count and self.process.wait():
            raise EOFError("it cannot be unpacked completely")
        return count


@contextmanager
def opened(path: Path, packing: str, runner: Runner) -> Iterator[Stream]:
    """Yield the stream of the image at `path`, whose compression is `packing` ("" for none).

    Reading a damaged image raises ValueError, EOFError, OSError, lzma.LZMAError or zlib.error.
    """
    with path.open("rb", buffering=0) as file:
        if packing == "":
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
            yield Plain(file.fileno())
        elif packing == ZSTD:
            with _zstd(file, frames_end(file), runner) as stream:
                yield stream
        else:
            yield Streams(file, packing)


@contextmanager
def _zstd(file: IO[bytes], end: int, runner: Runner) -> Iterator[Stream]:
    """Unpack the first `end` bytes of `file`: zstd itself refuses zeros after a frame."""
    file.seek(0)
    # Standard error is discarded: a pipe without a reader could fill up.
    with ExitStack() as stack:
        source: IO[bytes] = file
        if end < os.fstat(file.fileno()).st_size:
            head = stack.enter_context(runner.start(["head", "-c", str(end)], stdin=file))
            assert head.stdout is not None  # noqa: S101  # the runner made it a pipe
            source = head.stdout
        command = runner.start(["zstd", "-dcq"], stdin=source, stderr=subprocess.DEVNULL)
        yield _Piped(stack.enter_context(command))


def frames_end(file: IO[bytes]) -> int:
    """Return the offset at which the last zstd frame of `file` ends (RFC 8878, 3).

    Only zeros may follow. Raises ValueError for other data after a frame, EOFError for a truncated
    frame.
    """
    size = os.fstat(file.fileno()).st_size
    offset = 0
    while offset < size:
        file.seek(offset)
        mark = file.read(4)
        if not mark.strip(b"\0"):
            if _only_zeros(file):
                return offset
            raise ValueError(trailing_data(ZSTD))
        if packing_of(mark) != ZSTD:
            raise ValueError(trailing_data(ZSTD))
        offset = _after_frame(file, offset, skippable=mark != _MARK[ZSTD])
        if offset > size:
            raise EOFError("its compressed data end too early")
    return offset


def _after_frame(file: IO[bytes], offset: int, *, skippable: bool) -> int:
    """Return the offset after the frame at `offset`; `file` is positioned after its magic number.

    RFC 8878: 3.1.1.1.1 (frame header descriptor), 3.1.1.2 (blocks), 3.1.2 (skippable frames).
    """
    if skippable:
        return offset + 8 + int.from_bytes(_exactly(file, 4), "little")
    (header,) = _exactly(file, 1)
    single_segment = header >> 5 & 1
    if not single_segment and _window(_exactly(file, 1)[0]) > _MAX_WINDOW:
        raise too_much_memory(ZSTD, _MAX_WINDOW)
    content_size = (single_segment, 2, 4, 8)[header >> 6]
    offset += 5 + (1 - single_segment) + (0, 1, 2, 4)[header & 3] + content_size
    last = False
    while not last:
        file.seek(offset)
        block = int.from_bytes(_exactly(file, 3), "little")
        last, kind = bool(block & 1), block >> 1 & 3
        if kind == 3:
            raise ValueError("a block of its compressed data has a reserved type")
        offset += 3 + (1 if kind == 1 else block >> 3)
    return offset + 4 * (header >> 2 & 1)


def _window(descriptor: int) -> int:
    """Return the window size of a frame in bytes (RFC 8878, 3.1.1.1.2)."""
    base = 1 << (10 + (descriptor >> 3))
    return base + (base >> 3) * (descriptor & 7)


def _exactly(file: IO[bytes], size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise EOFError("its compressed data end too early")
    return data


def _only_zeros(file: IO[bytes]) -> bool:
    return all(not chunk.strip(b"\0") for chunk in iter(lambda: file.read(CHUNK), b""))


def too_much_memory(packing: str, limit: int) -> InputError:
    """Return the error for a valid stream that needs more than `limit` bytes to unpack."""
    unpack = "xz -dc" if packing == XZ else "zstd -dc --long=31"
    return InputError(
        "flash.other-format",
        f"its compression needs more than {limit >> 20} MiB of memory to unpack",
        hint=f"compress it again with {unpack} FILE | {packing} > NEW",
    )


def trailing_data(packing: str) -> str:
    """Return the message for a file with other data after its streams."""
    return f"data other than {packing} follow its end"
