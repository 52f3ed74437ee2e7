"""Compressed images as one stream of bytes, as their formats define it.

A file may hold several streams of one format one behind the other; zeros may stand between and
behind them (padding of .xz, and what tapes and disks leave behind the others). Whatever else lies
behind is an error in each of the formats: the file is not what somebody made.
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

_NO_MEMORY: Final = "Memory usage limit exceeded"  # what lzma says of MAX_LZMA
_MAX_WINDOW: Final = 128 << 20
"""The window that zstd unpacks without being asked for more (its manual, --memory)."""
_MARK: Final = {name: mark for mark, name in MARKS.items()}


class Stream(Protocol):
    """What an image is read from."""

    def readinto(self, into: memoryview, /) -> int | None:
        """Read at most as many bytes as `into` has; 0 at the end."""
        ...


class _Decoder(Decoder, Protocol):
    @property
    def unused_data(self) -> bytes: ...


class _Ahead:
    """A file of which something was read too far."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._data = b""

    def read(self, size: int, /) -> bytes:
        data, self._data = self._data[:size], self._data[size:]
        return data or self._file.read(size)

    def unread(self, data: bytes) -> None:
        self._data = data + self._data


class Streams:
    """The streams of .xz or .gz in `file`; raises ValueError and EOFError for what is none."""

    def __init__(self, file: IO[bytes], packing: str) -> None:
        self._file = _Ahead(file)
        self._packing = packing
        self._make: Callable[[], _Decoder] = unxz if packing == XZ else Gunzip
        self._decoder: _Decoder | None = self._make()

    def readinto(self, into: memoryview, /) -> int:
        """Read at most as many bytes as `into` has; 0 at the end."""
        while self._decoder is not None:
            if self._decoder.eof:
                self._file.unread(self._decoder.unused_data)
                self._decoder = self._make() if self._another() else None
                continue
            data = self._file.read(CHUNK) if self._decoder.needs_input else b""
            if not data and self._decoder.needs_input:
                raise EOFError("its compressed data end too early")
            out = self._decompressed(self._decoder, data, len(into))
            if out:
                into[: len(out)] = out
                return len(out)
        return 0

    def _decompressed(self, decoder: _Decoder, data: bytes, most: int) -> bytes:
        try:
            return decoder.decompress(data, most)
        except lzma.LZMAError as error:
            if _NO_MEMORY not in str(error):
                raise
            raise greedy(self._packing, MAX_LZMA) from None

    def _another(self) -> bool:
        """Say whether another stream follows; refuse whatever else does."""
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
            raise ValueError(behind(self._packing))
        return True


@dataclass(frozen=True)
class Plain:
    """An uncompressed image."""

    descriptor: int

    def readinto(self, into: memoryview, /) -> int:
        """Read at most as many bytes as `into` has; 0 at the end."""
        return os.readv(self.descriptor, [into])

    def seek(self, offset: int) -> None:
        """Go on from `offset`."""
        os.lseek(self.descriptor, offset, os.SEEK_SET)


@dataclass(frozen=True)
class _Piped:
    """What a program unpacks; its failure is not taken for the end of the image."""

    process: subprocess.Popen[bytes]

    def readinto(self, into: memoryview, /) -> int:
        assert self.process.stdout is not None  # noqa: S101  # the runner made it a pipe
        count = os.readv(self.process.stdout.fileno(), [into])
        if not count and self.process.wait():
            raise EOFError("it cannot be unpacked to its end")
        return count


@contextmanager
def opened(path: Path, packing: str, runner: Runner) -> Iterator[Stream]:
    """Give the image in the file at `path`, whose compression is `packing` ("" for none).

    Reading raises ValueError, EOFError, OSError, lzma.LZMAError and zlib.error for a damaged one.
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
    """Unpack the first `end` bytes of `file`: zstd itself refuses zeros behind a frame."""
    file.seek(0)
    # Its standard error goes nowhere: a pipe that nobody reads could fill up.
    with ExitStack() as stack:
        source: IO[bytes] = file
        if end < os.fstat(file.fileno()).st_size:
            head = stack.enter_context(runner.start(["head", "-c", str(end)], stdin=file))
            assert head.stdout is not None  # noqa: S101  # the runner made it a pipe
            source = head.stdout
        command = runner.start(["zstd", "-dcq"], stdin=source, stderr=subprocess.DEVNULL)
        yield _Piped(stack.enter_context(command))


def frames_end(file: IO[bytes]) -> int:
    """Return where the last zstd frame of `file` ends; nothing but zeros may follow (RFC 8878, 3).

    Raises ValueError for something else behind a frame, EOFError where one is cut short.
    """
    size = os.fstat(file.fileno()).st_size
    at = 0
    while at < size:
        file.seek(at)
        mark = file.read(4)
        if not mark.strip(b"\0"):
            if _zeros(file):
                return at
            raise ValueError(behind(ZSTD))
        if packing_of(mark) != ZSTD:
            raise ValueError(behind(ZSTD))
        at = _after_frame(file, at, skippable=mark != _MARK[ZSTD])
        if at > size:
            raise EOFError("its compressed data end too early")
    return at


def _after_frame(file: IO[bytes], at: int, *, skippable: bool) -> int:
    if skippable:
        return at + 8 + int.from_bytes(_exactly(file, 4), "little")
    (said,) = _exactly(file, 1)
    single = said >> 5 & 1
    if not single and _window(_exactly(file, 1)[0]) > _MAX_WINDOW:
        raise greedy(ZSTD, _MAX_WINDOW)
    content = (single, 2, 4, 8)[said >> 6]
    at += 5 + (1 - single) + (0, 1, 2, 4)[said & 3] + content
    last = False
    while not last:
        file.seek(at)
        block = int.from_bytes(_exactly(file, 3), "little")
        last, kind = bool(block & 1), block >> 1 & 3
        if kind == 3:
            raise ValueError("a block of its compressed data is none")
        at += 3 + (1 if kind == 1 else block >> 3)
    return at + 4 * (said >> 2 & 1)


def _window(descriptor: int) -> int:
    """Return the bytes of a frame's window (RFC 8878, 3.1.1.1.2)."""
    base = 1 << (10 + (descriptor >> 3))
    return base + (base >> 3) * (descriptor & 7)


def _exactly(file: IO[bytes], size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise EOFError("its compressed data end too early")
    return data


def _zeros(file: IO[bytes]) -> bool:
    return all(not chunk.strip(b"\0") for chunk in iter(lambda: file.read(CHUNK), b""))


def greedy(packing: str, most: int) -> InputError:
    """Return the error for a stream that is whole, and takes more memory than flashing has."""
    unpack = "xz -dc" if packing == XZ else "zstd -dc --long=31"
    return InputError(
        "flash.other-format",
        f"it is compressed so that unpacking it takes more than {most >> 20} MiB of memory",
        hint=f"pack it again: {unpack} FILE | {packing} > NEW",
    )


def behind(packing: str) -> str:
    """Return what is said of a file with more in it than its streams."""
    return f"something that is no {packing} lies behind its end"
