"""Recipes: what the bytes of a slot are, as files by digest and the rest literally.

A recipe is one line of JSON and a zlib stream. The line has the ``size`` of the slot in bytes,
``files`` (lists of offset, length, SHA-256, and the offset up to which zeros follow) and
``literals`` (lists of offset and length), and in ``order`` its place among other versions
(`piimage_agent.order`), and in ``head`` the offset of the page that is written last; the stream
holds the literals one after another, as differences of 32-bit words (`undelta`). What no part
covers is not written. The tool makes recipes in piimage/deploy/recipe.py.
"""

from __future__ import annotations

import array
import itertools
import json
import sys
import zlib

from piimage_agent.order import Order, order_of
from piimage_agent.refusal import Refused, digest_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

PAGE = 4096
"""The bytes at the head of a slot that are written last."""
_LITERALS_LIMIT = 1 << 26
_PARTS_LIMIT = 1 << 14
_ZEROS_LIMIT = 1 << 17  # a cluster of FAT has at most 64 KiB


class File:
    """The content of a file at an offset of the slot, and zeros up to the offset `end`."""

    def __init__(self, at: int, size: int, digest: str, end: int) -> None:
        self.at = at
        self.size = size
        self.digest = digest
        self.end = end


class Literal:
    """Bytes at an offset of the slot."""

    def __init__(self, at: int, data: bytes) -> None:
        self.at = at
        self.data = data

    @property
    def end(self) -> int:
        """The first byte of the slot after these."""
        return self.at + len(self.data)


class Recipe:
    """The parts of a slot by their offset, and its `head`: the page that is written last.

    `size` is that of the device on which the slot is.
    """

    def __init__(
        self, size: int, head: Literal, parts: list[File | Literal], order: Order = (0, 0)
    ) -> None:
        self.size = size
        self.order = order
        self.head = head
        self.parts = parts

    @property
    def digests(self) -> list[str]:
        """The digests of the files, each once."""
        return list(dict.fromkeys(part.digest for part in self.parts if isinstance(part, File)))

    @property
    def length(self) -> int:
        """The number of bytes that are written, besides the head."""
        return sum(part.end - part.at for part in self.parts)


def parse(data: bytes) -> Recipe:
    """Read a recipe; raises Refused ``bad-recipe`` unless its parts fit the slot."""
    line, newline, packed = data.partition(b"\n")
    try:
        found = json.loads(line)
        size, literals = _number(found["size"]), list(_pairs(found["literals"]))
        files, order = list(_files(found["files"])), order_of(found.get("order"))
        head = _number(found.get("head", 0))
    except (ValueError, LookupError, TypeError, RecursionError):
        raise _bad("its first line is not readable") from None
    if not newline:
        raise _bad("its first line is not readable")
    content = undelta(_unpacked(packed, sum(length for _, length in literals)))
    parts: list[File | Literal] = [*files, *_cut(literals, content)]
    parts.sort(key=lambda part: part.at)
    end = 0
    for part in parts:
        if part.at < end or part.end > size:
            raise _bad("its parts overlap, or leave the slot")
        end = part.end
    for number, part in enumerate(parts):
        if part.at == head and isinstance(part, Literal) and len(part.data) >= PAGE:
            rest = Literal(head + PAGE, part.data[PAGE:])
            others = [*parts[:number], *([rest] if rest.data else []), *parts[number + 1 :]]
            return Recipe(size, Literal(head, part.data[:PAGE]), others, order)
    raise _bad("it does not have the slot's first page")


def _number(value: Any) -> int:  # noqa: ANN401  # of JSON
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 1 << 40:
        raise ValueError(value)
    return value


def _pairs(value: Any) -> Iterator[tuple[int, int]]:  # noqa: ANN401  # of JSON
    if not isinstance(value, list) or len(value) > _PARTS_LIMIT:
        raise ValueError(value)
    for at, length in value:
        yield _number(at), _number(length)


def _files(value: Any) -> Iterator[File]:  # noqa: ANN401  # of JSON
    if not isinstance(value, list) or len(value) > _PARTS_LIMIT:
        raise ValueError(value)
    for start, length, digest, stop in value:
        at, size, end = _number(start), _number(length), _number(stop)
        if not 0 <= end - at - size < _ZEROS_LIMIT:
            raise ValueError(value)
        yield File(at, size, digest_of(digest), end)


def _cut(literals: list[tuple[int, int]], content: bytes) -> Iterator[Literal]:
    start = 0
    for at, length in literals:
        yield Literal(at, content[start : start + length])
        start += length


def _unpacked(packed: bytes, length: int) -> bytes:
    if length > _LITERALS_LIMIT:
        raise _bad("its literals have an impossible length")
    whole = length + -length % 4
    inflate = zlib.decompressobj()
    try:
        content = inflate.decompress(packed, whole + 1)
    except zlib.error:
        raise _bad("its literals cannot be unpacked") from None
    if len(content) != whole:
        raise _bad("its literals are shorter or longer than it says")
    return content


def undelta(data: bytes) -> bytes:
    """Return the bytes whose little-endian 32-bit words differ by the words of `data`."""
    words = array.array("I", data)
    if sys.byteorder == "big":
        words.byteswap()
    found = array.array("I", itertools.accumulate(words, lambda a, b: (a + b) & 0xFFFFFFFF))
    if sys.byteorder == "big":
        found.byteswap()
    return found.tobytes()


def _bad(reason: str) -> Refused:
    return Refused("bad-recipe", f"the recipe of the slot is not valid: {reason}", "deploy again")
