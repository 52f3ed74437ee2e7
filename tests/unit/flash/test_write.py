from __future__ import annotations

import errno
import functools
import gzip
import hashlib
import lzma
import random
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from piimage import events
from piimage.card import bmap
from piimage.card.extents import Extent, total
from piimage.errors import InputError, PiimageError
from piimage.flash import source, stamp, write
from piimage.flash.medium import Medium
from piimage.flash.verify import _foreign_blocks
from piimage.flash.write import Flashed
from piimage.run import Runner
from tests.unit.flash.cards import (
    MAPPED,
    MIB,
    SIZE,
    Card,
    Fault,
    bootable,
    card,
    content,
    file_medium,
    holds_image,
    image_file,
    used,
)


def flashed(medium: Medium, image: Path, *, resume: bool = False) -> Flashed:
    return write.flash(medium, source.find(image), Runner(), resume=resume)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return image_file(tmp_path)


def test_what_is_mapped_arrives_and_nothing_else_is_touched(image: Path) -> None:
    disk = card()
    before = bytes(disk.bytes)
    done = flashed(disk, image)
    assert holds_image(disk.bytes)
    assert bootable(disk.bytes)
    at = MIB
    for extent in MAPPED:
        assert disk.bytes[at : max(at, extent.start)] == before[at : max(at, extent.start)]
        at = extent.end
    assert disk.bytes[at:] == before[at:]
    assert done.mapped == done.verified == total(MAPPED)


def test_a_file_with_direct_io_gets_the_same_bytes(image: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(used(SIZE))
    with file_medium(disk) as medium:
        flashed(medium, image)
    assert holds_image(disk.read_bytes())


@functools.cache
def packing(suffix: str) -> bytes:
    data = bytes(content())
    if suffix == ".zst":
        return subprocess.run(
            ["zstd", "-qc", "-1"], input=data, check=True, capture_output=True
        ).stdout
    if suffix == ".gz":
        return gzip.compress(data, 1)
    # Random bytes are searched in vain: the cheapest search takes a third of the time.
    search = {"mf": lzma.MF_HC3, "nice_len": 5, "depth": 1, "dict_size": 4096}
    return lzma.compress(data, filters=[{"id": lzma.FILTER_LZMA2, "preset": 0, **search}])


def packed(image: Path, suffix: str) -> Path:
    target = image.with_name(image.name + suffix)
    target.write_bytes(packing(suffix))
    image.unlink()
    return target


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suffix", "mapped"), [(".xz", True), (".gz", True), (".zst", True), (".zst", False)]
)
def test_compressed_images_are_streamed(tmp_path: Path, suffix: str, mapped: bool) -> None:
    disk = card()
    done = flashed(disk, packed(image_file(tmp_path, mapped=mapped), suffix))
    assert holds_image(disk.bytes)
    assert done.mapped == (total(MAPPED) if mapped else SIZE)


@pytest.mark.parametrize(("suffix", "mapped"), [(".xz", True), (".gz", True), (".zst", False)])
@pytest.mark.provokes("flash.bad-image")
def test_a_compressed_image_that_is_cut_short_is_no_success(
    tmp_path: Path, suffix: str, mapped: bool
) -> None:
    path = packed(image_file(tmp_path, mapped=mapped), suffix)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    disk = card()
    with pytest.raises(PiimageError, match="the image is damaged"):
        flashed(disk, path)
    assert not bootable(disk.bytes)


def test_an_image_without_a_map_is_written_whole(tmp_path: Path) -> None:
    disk = card()
    path = image_file(tmp_path, mapped=False)
    odd = content()[:-100]
    path.write_bytes(odd)
    flashed(disk, path)
    assert disk.bytes[: len(odd)] == odd


def test_the_first_block_goes_last_and_after_all_was_read_back(image: Path) -> None:
    calls: list[tuple[str, int]] = []
    flashed(card(fault=lambda _, operation, offset, __: calls.append((operation, offset))), image)
    writes = [(n, offset) for n, (operation, offset) in enumerate(calls) if operation == "write"]
    assert writes[0][1] == 0  # the stamp
    assert [offset for _, offset in writes[-2:]] == [4096, 0]
    last_read_behind = max(
        n for n, (operation, at) in enumerate(calls) if operation == "read" and at >= MIB
    )
    assert last_read_behind < writes[-2][0]
    assert calls[writes[-1][0] - 1][0] == "flush"


@pytest.mark.provokes("flash.bad-image")
def test_an_image_that_is_not_what_its_map_says_is_refused(image: Path) -> None:
    data = content()
    data[6 * MIB] ^= 1
    image.write_bytes(data)
    disk = card()
    with pytest.raises(PiimageError, match=f"bytes {5 * MIB + 4096} to {8 * MIB - 1}"):
        flashed(disk, image)
    assert not bootable(disk.bytes)


def test_an_image_shorter_than_its_map_is_refused(image: Path) -> None:
    image.write_bytes(content()[: 12 * MIB + 50])
    with pytest.raises(PiimageError, match="it ends after 12582962 of"):
        flashed(card(), image)


@pytest.mark.provokes("flash.no-image")
@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.touch()])
def test_an_image_that_is_none_is_refused(tmp_path: Path, make: object) -> None:
    make(tmp_path / "x.img")  # type: ignore[operator]
    with pytest.raises(InputError, match="image"):
        source.find(tmp_path / "x.img")


@pytest.mark.parametrize("name", ["pi4.bmap", "pi4.img.bmap", "pi4.img.xz.bmap"])
def test_the_map_is_found_beside_the_image(tmp_path: Path, name: str) -> None:
    path = packed(image_file(tmp_path), ".xz")
    assert source.find(path).size == SIZE  # of an xz file, only a map tells
    (tmp_path / "pi4.bmap").rename(tmp_path / name)
    assert source.find(path).size == SIZE
    (tmp_path / name).rename(tmp_path / "other.bmap")
    assert source.find(path).size is None


def test_a_foreign_map_with_long_ranges_works(tmp_path: Path) -> None:
    path = image_file(tmp_path, mapped=False)
    subprocess.run(["bmaptool", "create", "-o", tmp_path / "pi4.bmap", path], check=True)
    disk = card()
    flashed(disk, path)
    assert holds_image(disk.bytes)


def test_eight_blocks_tell_where_foreign_data_come_from() -> None:
    """The first may come from nowhere: a card before this one."""
    found = random.Random(1).randbytes(20 * 4096)
    wanted = found[:4096] + bytes(19 * 4096)
    assert list(_foreign_blocks(found, wanted)) == [n * 4096 for n in range(1, 9)]
    assert _foreign_blocks(bytes(4096) + found[:4096], bytes(2 * 4096)) == {4096: found[:4096]}


@pytest.mark.provokes("flash.too-small")
def test_an_image_that_turns_out_too_large_is_no_success(tmp_path: Path) -> None:
    path = packed(image_file(tmp_path, mapped=False), ".gz")
    disk = card(16 * MIB)
    with pytest.raises(PiimageError, match="it has 16777216 bytes"):
        flashed(disk, path)
    assert not bootable(disk.bytes)


# Faults of the card


def at_write(number: int, act: Fault) -> Fault:
    """Do `act` instead of the write with this number, 0 being the stamp."""
    count = iter(range(1 << 30))

    def fault(disk: Card, operation: str, offset: int, data: memoryview) -> None:
        if operation == "write" and next(count) == number:
            act(disk, operation, offset, data)

    return fault


class Skip(Exception):
    pass


def lying(number: int) -> Card:
    """A card that drops one write and says that it took it."""

    class Liar(Card):
        def write(self, offset: int, data: memoryview) -> None:
            try:
                super().write(offset, data)
            except Skip:
                return

    def drop(*_: object) -> None:
        raise Skip

    template = card()
    return Liar(
        "card", -1, template.size, 512, None, template.bytes, at_write(number, drop), 1 << 62
    )


def writes_of(image: Path) -> int:
    seen: list[int] = []
    note = lambda _, operation, offset, __: seen.append(offset) if operation == "write" else None  # noqa: E731
    flashed(card(fault=note), image)
    return len(seen)


@pytest.mark.slow
@pytest.mark.provokes("flash.mismatch", "flash.ignores-writes")
def test_every_write_that_is_dropped_is_noticed(image: Path) -> None:
    for number in range(writes_of(image)):
        disk = lying(number)
        with pytest.raises(PiimageError) as caught:
            flashed(disk, image)
        assert caught.value.code == ("flash.ignores-writes" if number == 0 else "flash.mismatch")
        assert number == 0 or not bootable(disk.bytes)


@pytest.mark.provokes("flash.mismatch")
def test_a_flipped_bit_is_named(image: Path) -> None:
    def flip(disk: Card, operation: str, offset: int, data: memoryview) -> None:
        if operation == "read" and offset == 20 * MIB:
            disk.bytes[20 * MIB + 777] ^= 4

    flips = iter([flip])

    def once(disk: Card, operation: str, offset: int, data: memoryview) -> None:
        if operation == "read" and offset == 20 * MIB and (act := next(flips, None)):
            act(disk, operation, offset, data)

    disk = card(fault=once)
    place = 20 * MIB + 777
    with pytest.raises(
        PiimageError, match=f"bytes {place} to {place} differ from what was written"
    ):
        flashed(disk, image)
    assert not bootable(disk.bytes)


def test_zeros_that_come_back_are_called_empty(image: Path) -> None:
    def wipe(disk: Card, operation: str, offset: int, data: memoryview) -> None:
        if operation == "flush":
            disk.bytes[6 * MIB : 7 * MIB] = bytes(MIB)

    with pytest.raises(PiimageError, match=f"bytes {6 * MIB} to .* the bytes are blank"):
        flashed(card(fault=wipe), image)


@pytest.mark.provokes("flash.fake-card")
@pytest.mark.parametrize("real", [2 * MIB, 4 * MIB, 8 * MIB, 16 * MIB, 7 * MIB, 11 * MIB, 19 * MIB])
def test_a_card_with_less_inside_than_it_says_is_called_a_fake(image: Path, real: int) -> None:
    disk = card(real=real)
    with pytest.raises(PiimageError) as caught:
        flashed(disk, image)
    assert caught.value.code in {"flash.fake-card", "flash.mismatch"}
    if caught.value.code == "flash.fake-card":
        assert f"wrap around after {real}" in str(caught.value)
    else:
        assert real not in {2 * MIB, 4 * MIB, 8 * MIB, 16 * MIB}
    assert not bootable(disk.bytes)


def test_a_wrap_that_is_no_power_of_two_is_recognised(image: Path) -> None:
    # 12 MiB turns up at 6: a piece that was written there before.
    with pytest.raises(PiimageError, match=f"wrap around after {6 * MIB}"):
        flashed(card(real=6 * MIB), image)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(9))
@pytest.mark.parametrize("operation", ["read", "write", "flush"])
def test_an_error_of_the_card_is_no_success(image: Path, operation: str, number: int) -> None:
    count = iter(range(1 << 30))

    def fail(disk: Card, kind: str, offset: int, data: memoryview) -> None:
        if kind == operation and next(count) == number:
            raise PiimageError("flash.io-error", "injected")

    disk = card(fault=fail)
    try:
        flashed(disk, image)
    except PiimageError as error:
        assert error.message == "injected"
        # Before the stamp is down the old content is still there, and nothing was claimed.
        assert not bootable(disk.bytes) or bytes(disk.bytes) == bytes(used(disk.size))
    else:
        assert next(count) <= number


@pytest.mark.slow
@pytest.mark.provokes("flash.interrupted")
@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_a_resumed_flash_writes_only_what_is_missing(image: Path, number: int) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    disk = card(fault=at_write(number, stop))
    with pytest.raises(PiimageError, match="the flash was interrupted; the card does not boot"):
        flashed(disk, image)
    assert not bootable(disk.bytes)
    again = Card("card", -1, disk.size, 512, None, disk.bytes)
    done = flashed(again, image, resume=True)
    assert holds_image(disk.bytes)
    assert bootable(disk.bytes)
    fresh = flashed(card(), image)
    assert done.digest == fresh.digest
    assert (done.written < fresh.written) == (number > 1)


@pytest.mark.provokes("flash.no-resume")
def test_there_is_nothing_to_resume_on_another_card(image: Path, tmp_path: Path) -> None:
    with pytest.raises(PiimageError, match="no interrupted flash of this image"):
        flashed(card(), image, resume=True)
    other = card()
    stamp.put(other, "another image")
    with pytest.raises(PiimageError, match="no interrupted flash of this image"):
        flashed(other, image, resume=True)


def test_progress_ends_at_the_whole(image: Path) -> None:
    seen: list[events.Event] = []
    write.flash(card(), source.find(image), Runner(), seen.append)
    progress = [e for e in seen if isinstance(e, events.Progress)]
    assert progress[0].total == total(MAPPED)
    assert [p.done for p in progress if p.step == "flash-write"][-1] == total(MAPPED)
    ends = [p for p in progress if p.step == "flash-verify"]
    assert max(p.done for p in ends) == ends[0].total
    assert {type(e).__name__ for e in seen} == {"StepStarted", "StepFinished", "Progress"}


def test_a_map_of_random_ranges_arrives(tmp_path: Path) -> None:
    chance = random.Random(3)
    for number in range(4):
        folder = tmp_path / str(number)
        folder.mkdir()
        path = image_file(folder)
        blocks = sorted(chance.sample(range(SIZE // 4096), 40))
        with path.open("rb") as file:
            found = bmap.measure(file, SIZE, [Extent(b * 4096, (b + 1) * 4096) for b in blocks])
        (folder / "pi4.bmap").write_bytes(bmap.encode(found))
        disk = card()
        flashed(disk, path)
        wanted = content()
        for block in blocks:
            at = block * 4096
            assert disk.bytes[at : at + 4096] == wanted[at : at + 4096]


def test_errors_of_the_device_say_where(image: Path) -> None:
    from piimage.flash.medium import Medium as Real

    medium = Real("/dev/x", -1, 32 * MIB, 512, None)
    with pytest.raises(PiimageError, match="bytes 0 to 1048575 could not be written") as caught:
        flashed(medium, image)
    assert caught.value.code == "flash.io-error"
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.EBADF


def _hash(algorithm: str, data: bytes) -> str:
    return hashlib.new(algorithm, data).hexdigest()


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_map_with_either_checksum_works_piece_by_piece(tmp_path: Path, algorithm: str) -> None:
    """What is read back is compared by SHA-256, whatever the map has."""
    path = image_file(tmp_path)
    ranges = tuple(
        bmap.MappedRange(piece, _hash(algorithm, content()[piece.start : piece.end]))
        for extent in MAPPED
        for piece in extent.pieces(MIB)
    )
    made = bmap.BlockMap(SIZE, ranges, algorithm)
    (tmp_path / "pi4.bmap").write_bytes(bmap.encode(made))
    disk = card()
    done = flashed(disk, path)
    assert holds_image(disk.bytes)
    assert bootable(disk.bytes)
    assert done.verified == total(MAPPED)


def random_image(folder: Path, parts: Mapping[int, int]) -> Path:
    """Write an image, and its map, that has random bytes in parts of these sizes, by start."""
    chance, data = random.Random(5), bytearray(SIZE)
    for start, size in parts.items():
        data[start : start + size] = chance.randbytes(size)
    path = folder / "pi4.img"
    path.write_bytes(data)
    extents = [Extent(start, start + size) for start, size in parts.items()]
    with path.open("rb") as file:
        (folder / "pi4.bmap").write_bytes(bmap.encode(bmap.measure(file, SIZE, extents)))
    return path


def test_a_card_that_goes_round_twice_is_called_by_its_real_size(tmp_path: Path) -> None:
    """Of the blocks that turn up, some were written one round later, some two."""
    real = 7 * MIB
    parts = {0: MIB, 5 * MIB: 64 << 10, 12 * MIB: 8 << 10, 19 * MIB + 32768: 8 << 10}
    path = random_image(tmp_path, parts)
    disk = card(real=real)
    with pytest.raises(
        PiimageError, match=f"claims {32 * MIB} bytes, but its addresses wrap around after {real};"
    ):
        flashed(disk, path)


def test_one_block_at_the_start_of_its_piece_is_enough_to_know_a_fake(tmp_path: Path) -> None:
    """What belongs at 12 MiB turns up at 5 MiB: the card has 7 MiB."""
    path = random_image(tmp_path, {0: MIB, 5 * MIB: 4096, 12 * MIB: 4096})
    with pytest.raises(PiimageError, match=f"wrap around after {7 * MIB}"):
        flashed(card(real=7 * MIB), path)
