from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piimage.card import partitions
from piimage.card.partitions import Partition, Table
from piimage.errors import InputError, PiimageError
from piimage.run import Runner

MIB = 1 << 20
KINDS = st.sampled_from([partitions.FAT, partitions.LINUX])
VOLUMES = st.lists(st.tuples(KINDS, st.integers(1, 300_000)), min_size=1, max_size=4)


def laid_out(volumes: list[tuple[int, int]]) -> Table:
    placed = partitions.lay_out((kind, size * MIB) for kind, size in volumes)
    return Table(0x1234ABCD, dict(enumerate(placed, start=1)))


@given(VOLUMES)
def test_decode_reverses_encode(volumes: list[tuple[int, int]]) -> None:
    table = laid_out(volumes)
    assert partitions.decode(partitions.encode(table), table.end, "disk") == table


@given(VOLUMES)
def test_partitions_start_on_whole_mebibytes_and_touch(volumes: list[tuple[int, int]]) -> None:
    placed = list(laid_out(volumes).partitions.values())
    assert placed[0].start == MIB
    assert all(p.start % MIB == 0 for p in placed)
    assert [p.start for p in placed[1:]] == [p.end for p in placed[:-1]]


@settings(max_examples=5, deadline=None)
@given(VOLUMES)
def test_sfdisk_finds_no_fault(
    tmp_path_factory: pytest.TempPathFactory, volumes: list[tuple[int, int]]
) -> None:
    table = laid_out(volumes)
    disk = tmp_path_factory.mktemp("mbr") / "disk"
    disk.write_bytes(partitions.encode(table))
    with disk.open("r+b") as file:
        file.truncate(table.end)
    done = Runner().run(["sfdisk", "--verify", disk])
    assert "No errors detected" in done.text
    dump = Runner().run(["sfdisk", "--dump", disk]).text
    assert "label-id: 0x1234abcd" in dump
    for kind, partition in zip(volumes, table.partitions.values(), strict=True):
        assert f"type={kind[0]:x}" in dump
        assert f"start={partition.start // 512:12}, size={partition.size // 512:12}" in dump


@pytest.mark.provokes("card.partitions")
@pytest.mark.parametrize(
    ("volumes", "reason"),
    [
        ([(0x83, MIB)] * 5, "can hold four"),
        ([(0x83, MIB + 512)], "whole number of MiB"),
        ([(0x83, 0)], "whole number of MiB"),
        ([(0x83, 1 << 41)], "2 TiB"),
    ],
)
def test_partitions_that_do_not_fit_into_an_mbr_are_refused(
    volumes: list[tuple[int, int]], reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        partitions.lay_out(volumes)


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
def test_a_sector_without_a_valid_table_is_refused(sector: bytes) -> None:
    with pytest.raises(PiimageError, match="not a card image"):
        partitions.decode(sector, 100 * MIB, "x.img")


def _broken(sector: bytes, noise: dict[int, int]) -> bytes:
    """Return a valid sector with some bytes of its entries changed."""
    data = bytearray(sector)
    for at, value in noise.items():
        data[446 + at] = value
    return bytes(data)


def test_any_sector_is_read_or_refused() -> None:
    """A valid table with up to three bytes changed, on a disk of about its size."""
    outcomes: Counter[str] = Counter()
    noise = st.dictionaries(st.integers(0, 63), st.integers(0, 255), max_size=3)

    @settings(max_examples=200)
    @given(VOLUMES, noise, st.sampled_from([-512, 0, 512, 1 << 40]))
    def check(volumes: list[tuple[int, int]], noise: dict[int, int], more: int) -> None:
        table = laid_out(volumes)
        size = table.end + more
        try:
            decoded = partitions.decode(_broken(partitions.encode(table), noise), size, "x")
        except PiimageError:
            outcomes["refused"] += 1
            return
        outcomes["read"] += 1
        spans = sorted((p.start, p.end) for p in decoded.partitions.values())
        assert all(512 <= start < end <= size for start, end in spans)
        assert all(end <= start for (_, end), (start, _) in pairwise(spans))

    check()
    assert min(outcomes["refused"], outcomes["read"]) >= 20, outcomes


def test_an_active_partition_stays_active(tmp_path: Path) -> None:
    table = Table(7, {2: Partition(0x0C, MIB, MIB, active=True)})
    assert partitions.decode(partitions.encode(table), 4 * MIB, "x") == table
