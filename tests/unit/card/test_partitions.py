from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piimage.card import partitions
from piimage.card.partitions import Partition, Table
from piimage.errors import InputError, PiimageError
from piimage.run import Runner
from tests.branches import QUICK, at_least

MIB = 1 << 20
KINDS = st.sampled_from([partitions.FAT, partitions.LINUX])
WANTED = st.lists(st.tuples(KINDS, st.integers(1, 300_000)), min_size=1, max_size=4)


def laid_out(wanted: list[tuple[int, int]]) -> Table:
    placed = partitions.lay_out((kind, size * MIB) for kind, size in wanted)
    return Table(0x1234ABCD, dict(enumerate(placed, start=1)))


@given(WANTED)
def test_a_table_reads_back_as_it_was_written(wanted: list[tuple[int, int]]) -> None:
    table = laid_out(wanted)
    assert partitions.decode(partitions.encode(table), table.end, "disk") == table


@given(WANTED)
def test_partitions_start_on_whole_mebibytes_and_touch(wanted: list[tuple[int, int]]) -> None:
    placed = list(laid_out(wanted).partitions.values())
    assert placed[0].start == MIB
    assert all(p.start % MIB == 0 for p in placed)
    assert [p.start for p in placed[1:]] == [p.end for p in placed[:-1]]


@settings(max_examples=5, deadline=None)
@given(WANTED)
def test_sfdisk_finds_no_fault(
    tmp_path_factory: pytest.TempPathFactory, wanted: list[tuple[int, int]]
) -> None:
    table = laid_out(wanted)
    disk = tmp_path_factory.mktemp("mbr") / "disk"
    disk.write_bytes(partitions.encode(table))
    with disk.open("r+b") as file:
        file.truncate(table.end)
    done = Runner().run(["sfdisk", "--verify", disk])
    assert "No errors detected" in done.text
    dump = Runner().run(["sfdisk", "--dump", disk]).text
    assert "label-id: 0x1234abcd" in dump
    for kind, partition in zip(wanted, table.partitions.values(), strict=True):
        assert f"type={kind[0]:x}" in dump
        assert f"start={partition.start // 512:12}, size={partition.size // 512:12}" in dump


@pytest.mark.provokes("card.partitions")
@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ([(0x83, MIB)] * 5, "holds four"),
        ([(0x83, MIB + 512)], "whole number of MiB"),
        ([(0x83, 0)], "whole number of MiB"),
        ([(0x83, 1 << 41)], "2 TiB"),
    ],
)
def test_what_an_mbr_cannot_hold_is_refused(wanted: list[tuple[int, int]], why: str) -> None:
    with pytest.raises(InputError, match=why):
        partitions.lay_out(wanted)


@pytest.mark.provokes("card.no-table")
@pytest.mark.parametrize(
    "sector",
    [
        b"",
        bytes(512),
        partitions.encode(Table(1, {1: Partition(0x83, MIB, 1 << 40)})),
        partitions.encode(Table(1, {1: Partition(0x83, MIB, 9 * MIB), 2: Partition(12, MIB, MIB)})),
        partitions.encode(Table(1, {1: Partition(0x83, 0, MIB)})),
        bytes(446) + b"\x7f" + bytes(63) + b"\x55\xaa",
    ],
    ids=["empty", "no signature", "past the end", "overlap", "over the MBR", "bad status"],
)
def test_what_is_no_card_is_refused(sector: bytes) -> None:
    with pytest.raises(PiimageError, match="no card image"):
        partitions.decode(sector, 100 * MIB, "x.img")


def test_any_sector_is_read_or_refused() -> None:
    """Good tables with a byte of an entry changed, on disks of any size."""

    def run(ways: Counter[str]) -> None:
        @QUICK
        @given(WANTED, st.integers(0, 63), st.integers(0, 255), st.integers(-MIB, MIB))
        def any_sector(wanted: list[tuple[int, int]], at: int, byte: int, more: int) -> None:
            table = laid_out(wanted)
            sector = bytearray(partitions.encode(table))
            sector[446 + at] = byte
            size = max(512, table.end + more)
            try:
                found = partitions.decode(bytes(sector), size, "x")
            except PiimageError:
                ways["refused"] += 1
                return
            ways["read"] += 1
            assert found.end <= max(size, MIB)
            assert all(512 <= p.start < p.end <= size for p in found.partitions.values())

        any_sector()

    at_least({"refused": 20, "read": 20}, run)
