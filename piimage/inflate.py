"""Decompression within this process, a bounded piece at a time."""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from piimage.store import CHUNK
from piimage.tars import Readable

MAX_LZMA: Final = 80 << 20
"""Bytes of memory for a stream of xz: one of ``xz -9`` takes 65 MiB."""


class Decoder(Protocol):
    """A decompressor as lzma's and bz2's are."""

    @property
    def eof(self) -> bool:
        """Whether the stream has come to its end."""
        ...

    @property
    def needs_input(self) -> bool:
        """Whether nothing more comes out before something goes in."""
        ...

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Take `data` in and return at most `max_length` bytes."""
        ...


class Gunzip:
    """zlib's decompressor in the shape of lzma's."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)

    @property
    def eof(self) -> bool:
        """Whether the stream has come to its end."""
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        """What was behind the end of the stream."""
        return self._zlib.unused_data

    @property
    def needs_input(self) -> bool:
        """Whether nothing more comes out before something goes in."""
        return not self._zlib.unconsumed_tail

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Take `data` in and return at most `max_length` bytes."""
        return self._zlib.decompress(data or self._zlib.unconsumed_tail, max_length)


def unxz() -> lzma.LZMADecompressor:
    """Return a decoder of one stream of xz, of bounded memory."""
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, MAX_LZMA)


@dataclass(frozen=True)
class Inflated:
    """Reads the one stream that `source` begins with.

    Raises EOFError where it is cut short, ValueError where it is damaged.
    """

    source: Readable
    decoder: Decoder

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes; none at the end."""
        while not self.decoder.eof:
            data = self.source.read(CHUNK) if self.decoder.needs_input else b""
            if not data and self.decoder.needs_input:
                raise EOFError("the compressed data end too early")
            try:
                out = self.decoder.decompress(data, size)
            except (lzma.LZMAError, zlib.error) as error:
                raise ValueError(str(error)) from error
            if out:
                return out
        return b""


@dataclass
class Chunks:
    """Reads from `chunks`, one after another."""

    chunks: Iterator[bytes]
    rest: bytes = b""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes; none at the end."""
        data = self.rest or next(self.chunks, b"")
        self.rest = data[size:]
        return data[:size]
