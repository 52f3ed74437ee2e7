"""The form of bundles: what is written is read, and nothing else."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piimage import swu
from piimage.errors import PiimageError
from piimage.swu import Description, Part

DIGESTS = st.text("0123456789abcdef", min_size=64, max_size=64)
NAMES = st.text("abcXYZ019._-", min_size=1, max_size=80)
PARTS = st.builds(
    lambda name, size, digest, zeros: Part(name, size + zeros, digest, zeros),
    NAMES, st.integers(0, (1 << 31) - 1), DIGESTS, st.integers(0, (1 << 31) - 1),
)  # fmt: skip
DESCRIPTIONS = st.builds(
    Description,
    st.from_regex(r"\A[A-Za-z][A-Za-z0-9_-]{0,20}\Z"),
    st.text(min_size=1, max_size=50).map(swu.plain),
    st.tuples(st.integers(0, (1 << 31) - 1), st.integers(0, 1 << 36)),
    DIGESTS.map(lambda text: text[:12]),
    st.text(max_size=50).map(swu.plain),
    DIGESTS,
    DIGESTS,
    st.lists(PARTS, min_size=1, max_size=6, unique_by=lambda part: part.name).map(tuple),
)


@given(DESCRIPTIONS)
def test_a_description_is_read_as_it_was_written(found: Description) -> None:
    assert swu.parse_description(swu.describe(found)) == found


def test_a_name_is_shown_to_servers_in_signs_that_all_of_them_take() -> None:
    assert swu.revision('gewächshaus~1`2"3\\4') == "gew_chshaus_1_2_3_4"
    assert swu.revision("x" * 200) == "x" * 128


@given(st.binary(max_size=300))
def test_other_bytes_are_damaged_bundles(data: bytes) -> None:
    with pytest.raises(PiimageError):
        swu.parse_description(data)
    with pytest.raises(PiimageError):
        swu.Reader(io.BytesIO(data)).head()


@given(NAMES, st.integers(0, (1 << 32) - 1), st.integers(0, 1 << 60))
def test_a_header_has_the_size_that_places_count_with(name: str, size: int, total: int) -> None:
    data = swu.header(1, name, size, total)
    assert len(data) == swu.header_size(name)
    found = swu.read_header(data[: swu.HEADER])
    assert (found.size, found.name_size, found.total) == (size, len(name) + 1, total % (1 << 32))


@pytest.mark.parametrize("size", [swu.MAX_DESCRIPTION + 1, (1 << 32) - 1, 0])
def test_a_description_of_another_size_is_not_read(size: int) -> None:
    """Nothing of four gibibytes is asked for because a header says so."""
    data = swu.header(1, swu.DESCRIPTION, size, 0) + bytes(100)
    with pytest.raises(PiimageError, match="does not begin with sw-description"):
        swu.Reader(io.BytesIO(data)).head()


def test_a_name_of_any_length_is_not_read() -> None:
    data = bytearray(swu.header(1, swu.DESCRIPTION, 5, 0))
    data[94:102] = b"FFFFFFFF"
    with pytest.raises(PiimageError, match="name of an entry is too long"):
        swu.Reader(io.BytesIO(bytes(data))).head()
