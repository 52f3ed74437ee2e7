"""Block maps: the ranges of an image that must be written to a card, and their checksums.

The format is version 2.0 of bmap-tools (``BlockMap.xml``): bmaptool can use piimage's block maps,
and piimage can use those of other images.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO, Final
from xml.parsers import expat  # _Reader refuses document types, and so entities

from piimage.card.extents import Extent, union
from piimage.errors import PiimageError

BLOCK: Final = 4096
PIECE: Final = 4 << 20
"""The maximum size of a range in piimage's own maps, so that faults are detected early."""
_MAX_FILE: Final = 32 << 20
_MAX_TEXT: Final = 1 << 10
_ALGORITHMS: Final = frozenset({"sha256", "sha512"})
_CHECKSUM: Final = re.compile(rb"<BmapFileChecksum>\s*([0-9a-f]+)\s*</BmapFileChecksum>")
_RANGE: Final = re.compile(r"(\d{1,18})(?:-(\d{1,18}))?\Z")


@dataclass(frozen=True)
class MappedRange:
    """A range of the image with its hexadecimal checksum (None if the map has no checksum)."""

    extent: Extent
    checksum: str | None


@dataclass(frozen=True)
class BlockMap:
    """The ranges with data in an image of `image_size` bytes, in order."""

    image_size: int
    ranges: tuple[MappedRange, ...]
    algorithm: str = "sha256"
    block: int = BLOCK

    @property
    def mapped(self) -> int:
        """The size of all ranges in bytes."""
        return sum(mapped.extent.size for mapped in self.ranges)


def measure(image: BinaryIO, size: int, extents: Iterable[Extent]) -> BlockMap:
    """Return the map of `image` with `size` bytes; only `extents` are read."""
    ranges = tuple(
        MappedRange(piece, _hash(image, piece))
        for extent in union(extents, BLOCK)
        for piece in Extent(extent.start, min(extent.end, size)).pieces(PIECE)
    )
    return BlockMap(size, ranges)


def _hash(image: BinaryIO, extent: Extent) -> str:
    image.seek(extent.start)
    return hashlib.sha256(image.read(extent.size)).hexdigest()


def encode(block_map: BlockMap) -> bytes:
    """Return the map as a .bmap file."""
    block = block_map.block
    lines = [
        f'    <Range chksum="{mapped.checksum}"> {_numbers(mapped.extent, block)} </Range>'
        for mapped in block_map.ranges
    ]
    count = sum(-(-mapped.extent.size // block) for mapped in block_map.ranges)
    zeros = "0" * hashlib.new(block_map.algorithm).digest_size * 2
    text = "\n".join(
        [
            '<?xml version="1.0" ?>',
            '<bmap version="2.0">',
            f"  <ImageSize> {block_map.image_size} </ImageSize>",
            f"  <BlockSize> {block} </BlockSize>",
            f"  <BlocksCount> {-(-block_map.image_size // block)} </BlocksCount>",
            f"  <MappedBlocksCount> {count} </MappedBlocksCount>",
            f"  <ChecksumType> {block_map.algorithm} </ChecksumType>",
            f"  <BmapFileChecksum> {zeros} </BmapFileChecksum>",
            "  <BlockMap>",
            *lines,
            "  </BlockMap>",
            "</bmap>",
            "",
        ]
    )
    own = hashlib.new(block_map.algorithm, text.encode()).hexdigest()
    return text.replace(zeros, own, 1).encode()


def _numbers(extent: Extent, block: int) -> str:
    first, last = extent.start // block, -(-extent.end // block) - 1
    return str(first) if first == last else f"{first}-{last}"


def decode(data: bytes, origin: str) -> BlockMap:
    """Read a .bmap file of version 2.

    Raises PiimageError ``card.bad-bmap``, with `origin` as its place, if the file is damaged, has
    another version, or contradicts itself.
    """
    try:
        if len(data) > _MAX_FILE:
            raise ValueError(f"it has more than {_MAX_FILE >> 20} MiB")
        reader = _Reader()
        reader.read(data)
        return _checked(data, reader)
    except (ValueError, KeyError, expat.ExpatError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise PiimageError(
            "card.bad-bmap",
            f"the block map is invalid: {reason}",
            place=origin,
            hint="make it again (`piimage build`, or `bmaptool create`), or remove it to write the "
            "whole image",
        ) from error


class _Reader:
    """Reads the elements of a block map from its XML."""

    def __init__(self) -> None:
        self.version = ""
        self.values: dict[str, str] = {}
        self.ranges: list[tuple[str, str | None]] = []
        self._path: list[str] = []
        self._text = ""
        self._chksum: str | None = None

    def read(self, data: bytes) -> None:
        parser = expat.ParserCreate()
        parser.StartDoctypeDeclHandler = self._document_type
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.Parse(data, True)

    def _document_type(self, *_: object) -> None:
        raise ValueError("it declares a document type, which is not allowed in a block map")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._path.append(name)
        self._text = ""
        if self._path == ["bmap"]:
            self.version = attributes.get("version", "")
        self._chksum = attributes.get("chksum")

    def _characters(self, text: str) -> None:
        self._text += text
        if len(self._text) > _MAX_TEXT:
            raise ValueError("it has text in the place of a number")

    def _end(self, _: str) -> None:
        match self._path:
            case ["bmap", "BlockMap", "Range"]:
                self.ranges.append((self._text.strip(), self._chksum))
            case ["bmap", name] if name != "BlockMap":
                self.values[name] = self._text.strip()
        self._path.pop()
        self._text = ""


def _checked(data: bytes, reader: _Reader) -> BlockMap:
    if not reader.version.startswith("2."):
        raise ValueError(f"its version is {reader.version or 'unknown'}, not 2.0")
    algorithm = reader.values["ChecksumType"]
    if algorithm not in _ALGORITHMS:
        raise ValueError(f"its checksums are {algorithm}, not sha256 or sha512")
    _check_own_checksum(data, algorithm)
    size, block = _number(reader, "ImageSize"), _number(reader, "BlockSize")
    if not size or block % 512 or not 512 <= block <= 1 << 24:
        raise ValueError(f"it states blocks of {block} bytes and an image of {size} bytes")
    width = hashlib.new(algorithm).digest_size * 2
    ranges: list[MappedRange] = []
    at = 0
    for text, checksum in reader.ranges:
        extent = _extent(text, block, size)
        if extent.start < at:
            raise ValueError(f"its range {text} is out of order")
        if checksum is not None and not re.fullmatch(rf"[0-9a-f]{{{width}}}", checksum):
            raise ValueError(f"the checksum of its range {text} is invalid")
        at = extent.end
        ranges.append(MappedRange(extent, checksum))
    if _number(reader, "MappedBlocksCount") != sum(-(-r.extent.size // block) for r in ranges):
        raise ValueError("its ranges do not have the stated number of blocks")
    return BlockMap(size, tuple(ranges), algorithm, block)


def _check_own_checksum(data: bytes, algorithm: str) -> None:
    match = _CHECKSUM.search(data)
    if match is None:
        raise ValueError("it has no checksum of its own")
    blank = data[: match.start(1)] + b"0" * len(match[1]) + data[match.end(1) :]
    if hashlib.new(algorithm, blank).hexdigest().encode() != match[1]:
        raise ValueError("it was altered: its own checksum is wrong")


def _number(reader: _Reader, name: str) -> int:
    text = reader.values[name]
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise ValueError(f"its {name} is {text!r}")
    return int(text)


def _extent(text: str, block: int, size: int) -> Extent:
    match = _RANGE.match(text)
    if match is None:
        raise ValueError(f"its range {text!r} is invalid")
    first, last = int(match[1]), int(match[2] or match[1])
    if last < first or first * block >= size or last * block >= size:
        raise ValueError(f"its range {text} is outside the image")
    return Extent(first * block, min((last + 1) * block, size))
