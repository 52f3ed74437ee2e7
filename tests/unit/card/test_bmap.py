from __future__ import annotations

import hashlib
import io
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piimage.card import bmap
from piimage.card.extents import Extent
from piimage.errors import PiimageError
from tests.examples import examples

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


def test_a_map_as_bmap_tools_writes_it() -> None:
    """BlockMap.xml, version 2.0; the digests are those of `head -c N /dev/zero | sha256sum`."""
    image = io.BytesIO(bytes(4 << 20) + bytes(8192) + b"x" * 100)
    size = (4 << 20) + 8292
    block_map = bmap.measure(image, size, [Extent(100, (4 << 20) + 1), Extent(size - 1, size)])
    assert block_map.mapped == (4 << 20) + 4096 + 100
    own = "BmapFileChecksum"
    text = bmap.encode(block_map).decode().splitlines()
    assert text[:7] == [
        '<?xml version="1.0" ?>',
        '<bmap version="2.0">',
        "  <ImageSize> 4202596 </ImageSize>",
        "  <BlockSize> 4096 </BlockSize>",
        "  <BlocksCount> 1027 </BlocksCount>",
        "  <MappedBlocksCount> 1026 </MappedBlocksCount>",
        "  <ChecksumType> sha256 </ChecksumType>",
    ]
    assert own in text[7]
    zeros = {4 << 20: "bb9f8df61474d25e71fa00722318cd387396ca1736605e1248821cc0de3d3af8",
             4096: "ad7facb2586fc6e966c004d7d1d16b024f5805ff7cb47c7a85dabd8b48892ca7"}  # fmt: skip
    last = hashlib.sha256(b"x" * 100).hexdigest()
    assert text[8:] == [
        "  <BlockMap>",
        f'    <Range chksum="{zeros[4 << 20]}"> 0-1023 </Range>',
        f'    <Range chksum="{zeros[4096]}"> 1024 </Range>',
        f'    <Range chksum="{last}"> 1026 </Range>',
        "  </BlockMap>",
        "</bmap>",
    ]


@pytest.mark.parametrize(
    ("block", "right"),
    [(512, 1), (1024, 1), (1 << 24, 1), (256, 0), (513, 0), (768, 0), ((1 << 24) + 512, 0)],
)
def test_blocks_are_whole_sectors_up_to_16_mebibytes(block: int, right: bool) -> None:
    made = bmap.BlockMap(5, (bmap.MappedRange(Extent(0, 5), "0" * 64),), block=block)
    if right:
        assert bmap.decode(bmap.encode(made), "x") == made
    else:
        with pytest.raises(PiimageError, match=f"blocks of {block} bytes and an image of 5 bytes"):
            bmap.decode(bmap.encode(made), "x")


@pytest.mark.provokes("card.bad-bmap")
def test_an_image_has_bytes() -> None:
    with pytest.raises(PiimageError, match="an image of 0 bytes"):
        bmap.decode(bmap.encode(bmap.BlockMap(0, ())), "x")


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_other_checksums_of_bmap_tools_are_read(algorithm: str) -> None:
    checksum = hashlib.new(algorithm, b"abc").hexdigest()
    ranges = (
        bmap.MappedRange(Extent(0, 4096), checksum), bmap.MappedRange(Extent(8192, 8200), checksum),
    )  # fmt: skip
    made = bmap.BlockMap(8200, ranges, algorithm)
    assert bmap.decode(bmap.encode(made), "x") == made


def test_a_range_may_have_no_checksum_and_any_second_version_is_read() -> None:
    text = re.sub(rb' chksum="[0-9a-f]*"', b"", good()).replace(b'"2.0"', b'"2.1"')
    made = bmap.decode(signed(text), "x")
    assert made.ranges == (bmap.MappedRange(Extent(0, 8192), None),)


@pytest.mark.provokes("card.bad-bmap")
@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b' version="2.0"', b"", "version is unknown, not 2.0"),
        (b'"2.0"', b'"20"', "version is 20"),
        (b"0-1 ", b"0-41 ", "outside"),  # 41 blocks have bytes: 0 to 40
        (b"0-1 ", b"41 ", "outside"),
        (b"0-1 ", b"0-1000000000000000000 ", "is invalid"),
        (b"> 4096 <", b"> 1000000000000000000 <", "BlockSize is '1000000000000000000'"),
        (b"<BmapFileChecksum>", b"<Bmapfilechecksum>", "mismatched|no checksum of its own"),
    ],
)
def test_numbers_that_cannot_be_are_refused(old: bytes, new: bytes, reason: str) -> None:
    data = good()
    assert old in data
    with pytest.raises(PiimageError, match=reason):
        bmap.decode(signed(data.replace(old, new, 1)), "x")


def test_the_last_block_may_be_a_part_of_one() -> None:
    text = good().replace(b"0-1 ", b"40 ").replace(b"Count> 2", b"Count> 1")
    assert bmap.decode(signed(text), "x").ranges[0].extent == Extent(40 * 4096, SIZE)


@pytest.mark.provokes("card.bad-bmap")
def test_a_map_is_not_read_past_its_bounds() -> None:
    """32 MiB in all, 1024 letters in an element; the map has "\\n    " after <BlockMap>."""
    with pytest.raises(PiimageError, match="no element found"):
        bmap.decode(b" " * (32 << 20), "x")
    with pytest.raises(PiimageError, match="more than 32 MiB"):
        bmap.decode(b" " * ((32 << 20) + 1), "x")
    for blanks, right in ((1019, True), (1020, False)):
        text = signed(good().replace(b"<BlockMap>", b"<BlockMap>" + b" " * blanks))
        if right:
            assert bmap.decode(text, "x").mapped == 8192
        else:
            with pytest.raises(PiimageError, match="text in the place of a number"):
                bmap.decode(text, "x")


@settings(max_examples=examples(150))
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


@settings(max_examples=examples(60))
@given(st.binary(max_size=300))
def test_foreign_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(PiimageError):
        bmap.decode(data, "x")
