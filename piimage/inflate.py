"""Decompression in this process, in pieces of bounded size."""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from piimage.store import CHUNK
from piimage.tars import Readable

MAX_LZMA: Final = 80 << 20
"""Bytes of memory for an xz stream: one of ``xz -9`` takes 65 MiB."""


class Decoder(Protocol):
    """A decompressor with the interface of those in lzma and bz2."""

    @property
    def eof(self) -> bool:
        """Whether the end of the stream was reached."""
        ...

    @property
    def needs_input(self) -> bool:
        """Whether `decompress` needs more data before it returns more."""
        ...

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Add `data` to the input and return at most `max_length` bytes."""
        ...


class Gunzip:
    """zlib's decompressor with the interface of lzma's."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)

    @property
    def eof(self) -> bool:
        """Whether the end of the stream was reached."""
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        """The input bytes after the end of the stream."""
        return self._zlib.unused_data

    @property
    def needs_input(self) -> bool:
        """Whether `decompress` needs more data before it returns more."""
        return not self._zlib.unconsumed_tail

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Add `data` to the input and return at most `max_length` bytes."""
        return self._zlib.decompress(data or self._zlib.unconsumed_tail, max_length)


def unxz() -> lzma.LZMADecompressor:
    """Return a decoder of one xz stream, with bounded memory."""
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, MAX_LZMA)


@dataclass(frozen=True)
class Inflated:
    """Reads the decompressed bytes of the first stream in `source`.

    Raises EOFError if the stream is truncated, ValueError if it is damaged.
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
