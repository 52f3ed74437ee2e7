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
from tests.examples import examples

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


@settings(max_examples=examples(5), deadline=None)
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


@pytest.mark.parametrize(
    ("sector", "chs"),
    [
        # 255 heads, 63 sectors: cylinder bits 9 and 8 are above the sector, which counts from 1.
        (0, "000100"), (62, "003f00"), (63, "010100"), (2048, "202100"), (16064, "fe3f00"),
        (16065, "000101"), ((600 * 255 + 1) * 63 + 1, "018258"), (1023 * 16065, "00c1ff"),
        (1024 * 16065 - 1, "feffff"), (1024 * 16065, "feffff"), (1 << 31, "feffff"),
    ],
)  # fmt: skip
def test_addresses_for_old_tools(sector: int, chs: str) -> None:
    assert partitions._chs(sector).hex() == chs


def test_the_first_sector_byte_by_byte() -> None:
    """UEFI 2.10, tables 5.1 and 5.2: the id at 440, entries of 16 bytes from 446, the signature."""
    table = Table(
        0x1234ABCD,
        {1: Partition(0x0C, MIB, MIB, active=True), 3: Partition(0x83, 2 * MIB, 8 << 30)},
    )
    assert partitions.encode(table) == b"".join(
        [
            bytes(440), bytes.fromhex("cdab3412 0000"),
            bytes.fromhex("80 202100 0c 410100 00080000 00080000"),
            bytes(16),
            bytes.fromhex("00 410200 83 feffff 00100000 00000001"),
            bytes(16), b"\x55\xaa",
        ]
    )  # fmt: skip
    assert table.end == 2 * MIB + (8 << 30)
    assert Table(1, {}).end == MIB
    assert (partitions.FAT, partitions.LINUX) == (0x0C, 0x83)


def test_a_table_may_end_a_sector_before_2_tib() -> None:
    (placed,) = partitions.lay_out([(0x83, (2 << 40) - 2 * MIB)])
    assert placed.end == (2 << 40) - MIB
    with pytest.raises(InputError, match="past 2 TiB"):
        partitions.lay_out([(0x83, (2 << 40) - MIB)])


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        ("00 000000 83 000000 01000000 01000000", {1: Partition(0x83, 512, 512)}),
        ("80 000000 83 000000 01000000 01000000", {1: Partition(0x83, 512, 512, True)}),
        ("00 000000 00 000000 01000000 01000000", {}),
        ("00 000000 83 000000 01000000 00000000", {}),
    ],
)
def test_what_counts_as_a_partition(entry: str, found: dict[int, Partition]) -> None:
    sector = bytes(440) + b"\1\2\0\0\0\0" + bytes.fromhex(entry) + bytes(48) + b"\x55\xaa"
    assert partitions.decode(sector + b"more", 1024, "x") == Table(0x201, found)


@pytest.mark.provokes("card.no-table")
@pytest.mark.parametrize("status", [0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x81])
def test_an_entry_is_active_or_not(status: int) -> None:
    sector = bytes(446 + 32) + bytes([status]) + bytes(31) + b"\x55\xaa"
    with pytest.raises(PiimageError, match="entry 3 of its MBR is invalid"):
        partitions.decode(sector, 1024, "x")


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

    @settings(max_examples=examples(200))
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
    assert min(outcomes["refused"], outcomes["read"]) >= 5, outcomes


def test_an_active_partition_stays_active(tmp_path: Path) -> None:
    table = Table(7, {2: Partition(0x0C, MIB, MIB, active=True)})
    assert partitions.decode(partitions.encode(table), 4 * MIB, "x") == table
