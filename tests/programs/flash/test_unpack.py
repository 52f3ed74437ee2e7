from __future__ import annotations

import functools
import gzip
import lzma
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from piimage import events
from piimage.card import bmap
from piimage.card.extents import Extent
from piimage.errors import InputError, PiimageError
from piimage.flash import source
from piimage.flash.unpack import frames_end, opened
from piimage.run import Runner
from tests.examples import examples
from tests.unit.flash.test_content import mbr

CARD = mbr((0x0C, 1, 4000)) + bytes(range(256)) * 8000
HALF = len(CARD) // 2


def zstd(data: bytes, *words: str) -> bytes:
    argv = ["zstd", "-qc", "-1", *words]
    return subprocess.run(argv, input=data, check=True, capture_output=True).stdout


@functools.cache
def packed(packing: str, data: bytes = CARD) -> bytes:
    if packing == "zst":
        return zstd(data)
    return gzip.compress(data, 1, mtime=0) if packing == "gz" else lzma.compress(data, preset=0)


def unpacked(path: Path) -> bytes:
    image = source.find(path)
    memory = memoryview(bytearray(100_000))
    parts = []
    with opened(path, image.packing, Runner()) as stream:
        while count := stream.readinto(memory):
            parts.append(bytes(memory[:count]))
    return b"".join(parts)


def written(folder: Path, data: bytes, name: str = "x.img") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


EACH = pytest.mark.parametrize("packing", ["xz", "gz", "zst"])


@EACH
@pytest.mark.parametrize("name", ["x.img", "x.xz", "x.gz", "x.zst", "x"])
def test_the_content_decides_and_not_the_name(tmp_path: Path, packing: str, name: str) -> None:
    path = written(tmp_path, packed(packing), name)
    found = source.checked(source.find(path), Runner())
    assert (found.size, unpacked(path)) == (len(CARD), CARD)
    plain = source.checked(source.find(written(tmp_path, CARD, name)), Runner())
    assert (plain.packing, plain.size) == ("", len(CARD))


@EACH
@pytest.mark.parametrize("zeros", [0, 4, 512, 3_000_000])
def test_several_streams_and_zeros_behind_them_are_one_image(
    tmp_path: Path, packing: str, zeros: int
) -> None:
    both = packed(packing, CARD[:HALF]) + packed(packing, CARD[HALF:]) + bytes(zeros)
    path = written(tmp_path, both)
    assert unpacked(path) == CARD
    assert source.checked(source.find(path), Runner()).size == len(CARD)


@pytest.mark.parametrize("packing", ["xz", "gz"])
def test_zeros_between_streams_are_padding(tmp_path: Path, packing: str) -> None:
    both = packed(packing, CARD[:HALF]) + bytes(8) + packed(packing, CARD[HALF:])
    assert unpacked(written(tmp_path, both)) == CARD


@pytest.mark.provokes("flash.bad-image")
@EACH
@pytest.mark.parametrize(
    "rest", [b"x", b"\0\0\0\0x", b"PK\x03\x04" + bytes(100), bytes(2_000_000) + b"x"]
)
def test_whatever_else_lies_behind_is_refused(tmp_path: Path, packing: str, rest: bytes) -> None:
    path = written(tmp_path, packed(packing) + rest)
    with pytest.raises(PiimageError, match=r"follow its end; .*nothing was written"):
        source.checked(source.find(path), Runner())


@pytest.mark.provokes("flash.bad-image")
@EACH
@pytest.mark.parametrize("cut", [20, 7, 1])
def test_a_stream_that_is_cut_short_is_refused_before_anything_is_written(
    tmp_path: Path, packing: str, cut: int
) -> None:
    path = written(tmp_path, packed(packing)[:-cut])
    with pytest.raises(PiimageError, match="nothing was written"):
        source.checked(source.find(path), Runner())


@pytest.mark.provokes("flash.bad-image")
@EACH
def test_a_checksum_that_is_wrong_is_found(tmp_path: Path, packing: str) -> None:
    data = bytearray(packed(packing))
    data[-3 if packing != "xz" else len(data) // 2] ^= 1
    with pytest.raises(PiimageError, match="the image is damaged"):
        source.checked(source.find(written(tmp_path, bytes(data))), Runner())


@pytest.mark.parametrize(
    "words", [["--no-check"], ["--ultra", "-20"], ["--content-size"], ["--no-content-size"]]
)
def test_every_form_of_zstds_frames_is_followed(tmp_path: Path, words: list[str]) -> None:
    skippable = b"\x5a\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"hello"
    data = skippable + zstd(CARD, *words) + skippable + zstd(b"", *words)
    path = written(tmp_path, data + bytes(77))
    with path.open("rb") as file:
        assert frames_end(file) == len(data)
    assert unpacked(path) == CARD


@EACH
@pytest.mark.provokes("flash.other-format")
def test_what_is_packed_must_be_a_card_too(tmp_path: Path, packing: str) -> None:
    path = written(tmp_path, packed(packing, b"a text\n" * 100))
    with pytest.raises(InputError, match="the file is a text file"):
        source.checked(source.find(path), Runner())


@EACH
@pytest.mark.provokes("flash.bad-table")
def test_an_image_that_ends_before_its_partitions_is_refused(tmp_path: Path, packing: str) -> None:
    path = written(tmp_path, packed(packing, CARD[:1_500_000]))
    with pytest.raises(PiimageError, match="exceed the disk"):
        source.checked(source.find(path), Runner())


@pytest.mark.provokes("flash.bad-image")
def test_an_image_that_is_shorter_than_its_map_is_refused_before(tmp_path: Path) -> None:
    path = written(tmp_path, CARD)
    with path.open("rb") as file:
        found = bmap.measure(file, len(CARD), [Extent(0, len(CARD))])
    (tmp_path / "x.bmap").write_bytes(bmap.encode(found))
    assert source.checked(source.find(path), Runner()).size == len(CARD)
    path.write_bytes(CARD[:-1])
    with pytest.raises(PiimageError, match=r"behind the end of the image; .*nothing was written"):
        source.checked(source.find(path), Runner())


def test_the_check_says_how_far_it_is(tmp_path: Path) -> None:
    seen: list[events.Event] = []
    source.checked(source.find(written(tmp_path, packed("gz"))), Runner(), seen.append)
    done = [event.done for event in seen if isinstance(event, events.Progress)]
    assert done[-1] == len(CARD)


VALID = {name: packed(name, CARD[:5000]) for name in ("xz", "gz", "zst")}


@settings(max_examples=examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    packing=st.sampled_from(["xz", "gz", "zst"]),
    changes=st.lists(st.tuples(st.integers(0, 300), st.binary(min_size=1, max_size=6)), max_size=3),
    behind=st.binary(max_size=20),
)
def test_any_damage_is_an_error_or_none(
    tmp_path: Path, packing: str, changes: list[tuple[int, bytes]], behind: bytes
) -> None:
    data = bytearray(VALID[packing])
    for at, noise in changes:
        data[at : at + len(noise)] = noise
    try:
        source.checked(source.find(written(tmp_path, bytes(data) + behind)), Runner())
    except PiimageError as error:
        assert error.code.startswith("flash.")


@pytest.mark.provokes("flash.other-format")
@pytest.mark.parametrize(
    ("argv", "limit", "way"),
    [
        (["xz", "-c", "--lzma2=preset=0,dict=128MiB"], "80 MiB", "xz -dc FILE | xz > NEW"),
        (["zstd", "-qc", "-1", "--long=28"], "128 MiB", "zstd -dc --long=31 FILE"),
    ],
)
def test_a_whole_stream_that_takes_much_memory_is_not_called_damaged(
    tmp_path: Path, argv: list[str], limit: str, way: str
) -> None:
    path = tmp_path / "card.img"
    path.write_bytes(subprocess.run(argv, input=CARD, check=True, capture_output=True).stdout)
    with pytest.raises(InputError, match=f"more than {limit} of memory") as caught:
        source.checked(source.find(path), Runner())
    assert caught.value.place == str(path)
    assert caught.value.hint
    assert way in caught.value.hint
