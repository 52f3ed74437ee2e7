from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piimage.card import bmap
from piimage.card.extents import Extent
from piimage.errors import PiimageError

SIZE = 40 * 4096 + 100


@st.composite
def maps(draw: st.DrawFn) -> bmap.BlockMap:
    blocks = sorted(draw(st.sets(st.integers(0, 40), max_size=12)))
    image = io.BytesIO(draw(st.binary(max_size=50)) + bytes(SIZE))
    extents = [Extent(b * 4096, min((b + 1) * 4096, SIZE)) for b in blocks]
    return bmap.measure(image, SIZE, extents)


@given(maps())
def test_decode_reverses_encode(block_map: bmap.BlockMap) -> None:
    assert bmap.decode(bmap.encode(block_map), "x.bmap") == block_map


def good() -> bytes:
    return bmap.encode(bmap.measure(io.BytesIO(bytes(SIZE)), SIZE, [Extent(0, 8192)]))


def signed(text: bytes) -> bytes:
    """Return the altered map `text` with a valid checksum."""
    import hashlib
    import re

    blank = re.sub(rb"(<BmapFileChecksum> )[0-9a-f]{64}", rb"\g<1>" + b"0" * 64, text)
    own = hashlib.sha256(blank).hexdigest().encode()
    return re.sub(rb"(<BmapFileChecksum> )0{64}", rb"\g<1>" + own, blank)


@pytest.mark.provokes("card.bad-bmap")
@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b'version="2.0"', b'version="1.4"', "version is 1.4"),
        (b"> sha256 <", b"> md5 <", "md5"),
        (b"0-1", b"1-0", "outside"),
        (b"0-1", b"0-999999", "outside"),
        (b"0-1", b"-3", "'-3' is invalid"),
        (b"Count> 2", b"Count> 3", "stated number of blocks"),
        (b"<BlockSize> 4096", b"<BlockSize> 0", "blocks of 0"),
        (b"<BlockSize> 4096", b"<BlockSize> -1", "BlockSize"),
        (b"<ImageSize> ", b"<Image> ", "mismatched tag"),
        (b"  <BlockSize> 4096 </BlockSize>\n", b"", "no 'BlockSize'"),
        (b'chksum="', b'chksum="z', "checksum of its range"),
        (b"</bmap>", b"", "no element found"),
        (b"<bmap ", b'<!DOCTYPE a [<!ENTITY b "c">]>\n<bmap ', "document type"),
        (b"<BlockMap>", b"<BlockMap>" + b"x" * 5000, "text in the place of a number"),
    ],
)
def test_a_map_that_contradicts_itself_is_refused(old: bytes, new: bytes, reason: str) -> None:
    data = good()
    assert old in data
    with pytest.raises(PiimageError, match=reason) as caught:
        bmap.decode(signed(data.replace(old, new, 1)), "x.bmap")
    assert caught.value.place == "x.bmap"


@pytest.mark.provokes("card.bad-bmap")
def test_an_altered_map_is_refused() -> None:
    with pytest.raises(PiimageError, match="altered"):
        bmap.decode(good().replace(b"0-1", b"1-2", 1), "x.bmap")


def test_ranges_out_of_order_are_refused() -> None:
    two = bmap.measure(io.BytesIO(bytes(SIZE)), SIZE, [Extent(0, 4096), Extent(8192, 12288)])
    text = bmap.encode(two)
    swapped = (
        text.replace(b"> 0 <", b"> X <").replace(b"> 2 <", b"> 0 <").replace(b"> X <", b"> 2 <")
    )
    with pytest.raises(PiimageError, match="out of order"):
        bmap.decode(signed(swapped), "x")


@settings(max_examples=150)
@given(st.data())
def test_a_damaged_map_is_read_or_refused(data: st.DataObject) -> None:
    text = bytearray(good())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text) - 1))
        text[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    for attempt in (bytes(text), signed(bytes(text))):
        try:
            read = bmap.decode(attempt, "x")
        except PiimageError:
            continue
        assert all(r.extent.end <= read.image_size for r in read.ranges)


@settings(max_examples=60)
@given(st.binary(max_size=300))
def test_foreign_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(PiimageError):
        bmap.decode(data, "x")
