"""The stamp of an unfinished card, and what a card that returns other bytes is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from piimage.card.extents import Extent
from piimage.errors import PiimageError
from piimage.flash import stamp, verify
from piimage.flash.provision import _write_changed
from piimage.flash.verify import _foreign_blocks, _plain_mismatch, _wrap_distance
from tests.unit.flash.cards import MIB, Card, card


def lines(block: bytes) -> bytes:
    return block.rstrip(b"\0")


def test_every_block_of_the_stamp_differs_and_tells_the_image() -> None:
    data = bytes(stamp.stamp("abc", 32 * MIB))
    assert len(data) == MIB
    blocks = [data[at : at + 4096] for at in range(0, MIB, 4096)]
    start = b"piimage: this card was not written completely; it does not boot\nimage abc\nblock "
    assert [lines(block) for block in blocks] == [start + b"%d\n" % n for n in range(256)]
    assert len(stamp.stamp("abc", 5000)) == 5000


@pytest.mark.parametrize(
    ("size", "offsets"),
    [
        (8 * MIB, [0, MIB, 2 * MIB, 4 * MIB]),
        (8 * MIB + 4096, [0, MIB, 2 * MIB, 4 * MIB, 8 * MIB]),
        (8 * MIB + 2048, [0, MIB, 2 * MIB, 4 * MIB]),
    ],
)
def test_a_card_is_asked_for_the_stamp_at_each_power_of_two(size: int, offsets: list[int]) -> None:
    seen: list[int] = []
    disk = card(
        size, fault=lambda _, operation, at, __: seen.append(at) if operation == "read" else None
    )
    stamp.put(disk, "abc")
    assert seen == offsets
    assert stamp.is_present(disk, "abc")
    assert not stamp.is_present(disk, "abd")


def test_a_stamp_of_which_a_part_is_left_is_still_that_of_an_interrupted_flash() -> None:
    disk = card(8 * MIB)
    assert not stamp.is_interrupted(disk, "abc")
    stamp.put(disk, "abc")
    disk.bytes[4096:8192] = bytes(4096)
    assert stamp.is_interrupted(disk, "abc")
    assert not stamp.is_interrupted(disk, "abd")
    assert not stamp.is_present(disk, "abc")


def test_a_fake_is_told_by_both_sizes() -> None:
    error = stamp.fake_card(card(8 * MIB), 3 * MIB)
    assert error.message == (
        "the card claims 8388608 bytes, but its addresses wrap around after 3145728"
    )


@pytest.mark.parametrize(
    ("origins", "distance"),
    [([], None), ([(5, 5)], None), ([(5, 4)], None), ([(5, 6)], 1), ([(0, 20), (7, 17)], 10)],
)
def test_the_smallest_way_down_is_the_real_size(
    origins: list[tuple[int, int]], distance: int | None
) -> None:
    assert _wrap_distance(origins) == distance


def varied(values: int, size: int = 4096) -> bytes:
    return bytes(n % values for n in range(size))


def test_blocks_that_could_be_from_anywhere_are_not_looked_for() -> None:
    """Seventeen different bytes are enough, sixteen are not; what is right is not foreign."""
    right = bytes(4096)
    actual = varied(16) + varied(17) + right + varied(99, 4095)
    assert _foreign_blocks(actual, bytes(len(actual))) == {4096: varied(17)}
    assert _foreign_blocks(varied(17), varied(17)) == {}


@pytest.mark.parametrize(
    ("actual", "expected", "message"),
    [
        (b"aXcXe", b"abcde", "bytes 101 to 103 differ from what was written: 2 bytes differ"),
        (
            b"a\0\0\0e",
            b"abcde",
            "bytes 101 to 103 differ from what was written: the bytes are blank",
        ),
        (b"a\xff\xff\xffe", b"abcde", "bytes 101 to 103 .* the bytes are blank"),
        (b"a\0\xff\0e", b"abcde", "bytes 101 to 103 .*: 3 bytes differ"),
        (b"abcde", b"abcde", "bytes 100 to 104 .*: two reads returned different bytes"),
    ],
)
def test_other_bytes_are_told_by_their_places(actual: bytes, expected: bytes, message: str) -> None:
    error = _plain_mismatch(card(MIB), Extent(100, 105), actual, expected)
    with pytest.raises(PiimageError, match=message):
        raise error


@pytest.mark.provokes("flash.mismatch")
def test_settings_that_a_card_does_not_keep_are_no_success(tmp_path: Path) -> None:
    """Only what differs is written, and it is read back."""
    (tmp_path / "new").write_bytes(b"n" * 8192)
    calls: list[str] = []
    disk = card(MIB, fault=lambda _, operation, __, ___: calls.append(operation))
    with (tmp_path / "new").open("rb") as file:
        _write_changed(disk, Extent(4096, 12288), file)
    assert calls == ["read", "write", "flush", "read"]
    assert disk.bytes[4096:12288] == b"n" * 8192
    calls.clear()
    with (tmp_path / "new").open("rb") as file:
        _write_changed(disk, Extent(4096, 12288), file)
    assert calls == ["read"]

    def forget(disk: Card, operation: str, _: int, __: memoryview) -> None:
        if operation == "flush":
            disk.bytes[5000] = 0

    forgetful = card(MIB, fault=forget)
    message = "bytes 4096 to 12287 .*: the card did not keep the settings"
    with (tmp_path / "new").open("rb") as file, pytest.raises(PiimageError, match=message):
        _write_changed(forgetful, Extent(4096, 12288), file)


def test_a_piece_is_read_in_whole_sectors() -> None:
    seen: list[tuple[int, int]] = []
    disk = Card("card", -1, MIB, 512, None, bytearray(range(256)) * 4096,
                lambda _, __, at, data: seen.append((at, len(data))))  # fmt: skip
    for size, whole in ((1, 512), (512, 512), (513, 1024)):
        memory = verify.buffer()
        assert bytes(verify._read(disk, Extent(512, 512 + size), memory)) == disk.bytes[512:][:size]
        assert seen.pop() == (512, whole)
