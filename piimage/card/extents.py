"""Ranges of bytes on a medium, such as the parts of an image that have data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Extent:
    """The bytes from `start` up to, not including, `end`."""

    start: int
    end: int

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.end:
            raise ValueError(f"no extent from {self.start} to {self.end}")

    @property
    def size(self) -> int:
        """The number of bytes."""
        return self.end - self.start

    def moved(self, offset: int) -> Extent:
        """Return the extent shifted by `offset` bytes."""
        return Extent(self.start + offset, self.end + offset)

    def pieces(self, size: int) -> Iterator[Extent]:
        """Yield the extent cut at the multiples of `size`."""
        start = self.start
        while start < self.end:
            end = min(self.end, (start // size + 1) * size)
            yield Extent(start, end)
            start = end


def union(extents: Iterable[Extent], block: int = 1) -> tuple[Extent, ...]:
    """Return `extents` extended to whole blocks of `block` bytes, sorted and merged, none empty."""
    merged: list[Extent] = []
    for extent in sorted(extents):
        if not extent.size:
            continue
        start, end = extent.start // block * block, -(-extent.end // block) * block
        if merged and start <= merged[-1].end:
            merged[-1] = Extent(merged[-1].start, max(end, merged[-1].end))
        else:
            merged.append(Extent(start, end))
    return tuple(merged)


def total(extents: Iterable[Extent]) -> int:
    """Return the number of bytes in the extents, which must not overlap."""
    return sum(extent.size for extent in extents)
