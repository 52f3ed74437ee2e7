from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piimage.card.extents import Extent, total, union

EXTENTS = st.lists(
    st.tuples(st.integers(0, 300), st.integers(0, 60)).map(lambda p: Extent(p[0], p[0] + p[1]))
)


def covered(extents: object, block: int = 1) -> set[int]:
    return {
        byte // block * block + at
        for extent in extents  # type: ignore[attr-defined]
        for byte in range(extent.start, extent.end)
        for at in range(block)
    }


@given(EXTENTS, st.sampled_from([1, 4, 16]))
def test_union_covers_the_same_blocks_once(extents: list[Extent], block: int) -> None:
    merged = union(extents, block)
    assert covered(merged) == covered(extents, block)
    assert total(merged) == len(covered(merged))
    assert all(a.end < b.start for a, b in itertools.pairwise(merged))


@given(st.integers(0, 100), st.integers(0, 100), st.integers(1, 30))
def test_pieces_cover_the_extent(start: int, size: int, piece: int) -> None:
    extent = Extent(start, start + size)
    pieces = list(extent.pieces(piece))
    assert b"".join(bytes(p.size) for p in pieces) == bytes(size)
    assert all(p.start // piece == (p.end - 1) // piece for p in pieces)
    assert [p.start for p in pieces[1:]] == [p.end for p in pieces[:-1]]


def test_an_extent_does_not_end_before_it_starts() -> None:
    with pytest.raises(ValueError, match="no extent"):
        Extent(5, 4)


def test_an_extent_may_be_empty_but_not_before_the_start() -> None:
    assert Extent(0, 0).size == Extent(5, 5).size == 0
    assert Extent(5, 7).moved(3) == Extent(8, 10)
    with pytest.raises(ValueError, match="no extent from -1 to 3"):
        Extent(-1, 3)
    assert union([Extent(3, 3), Extent(4, 5), Extent(5, 6)]) == (Extent(4, 6),)
    assert union([Extent(4, 5), Extent(6, 7)]) == (Extent(4, 5), Extent(6, 7))
