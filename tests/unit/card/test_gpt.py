"""The table in GPT form, by independent readers: sfdisk, and sgdisk where the host has it."""

from __future__ import annotations

import json
import struct
import uuid
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piimage.card import gpt, partitions, tables
from piimage.card.partitions import Partition, Table
from piimage.errors import PiimageError
from piimage.run import Runner

MIB = 1 << 20
KINDS = st.sampled_from([partitions.FAT, partitions.LINUX])
VOLUMES = st.lists(st.tuples(KINDS, st.integers(1, 300_000)), min_size=1, max_size=4)


def laid_out(volumes: list[tuple[int, int]]) -> Table:
    placed = partitions.lay_out((kind, size * MIB) for kind, size in volumes)
    return Table(0x1234ABCD, dict(enumerate(placed, start=1)))


def a_table() -> Table:
    return laid_out([(partitions.FAT, 40), (partitions.LINUX, 8)])


def disk_of(table: Table, path: Path) -> Path:
    size = gpt.disk_size(table)
    with path.open("wb") as file:
        file.truncate(size)
        for start, sectors in gpt.encode(table, size).items():
            file.seek(start)
            file.write(sectors)
    return path


def head_of(table: Table) -> bytearray:
    return bytearray(gpt.encode(table, gpt.disk_size(table))[0])


@given(VOLUMES)
def test_decode_reverses_encode(volumes: list[tuple[int, int]]) -> None:
    table = laid_out(volumes)
    assert gpt.decode(bytes(head_of(table)), gpt.disk_size(table), "disk") == table


@settings(max_examples=5, deadline=None)
@given(VOLUMES)
def test_sfdisk_finds_no_fault(
    tmp_path_factory: pytest.TempPathFactory, volumes: list[tuple[int, int]]
) -> None:
    table = laid_out(volumes)
    disk = disk_of(table, tmp_path_factory.mktemp("gpt") / "disk")
    assert "No errors detected" in Runner().run(["sfdisk", "--verify", disk]).text
    found = json.loads(Runner().run(["sfdisk", "--json", disk]).text)["partitiontable"]
    assert found["label"] == "gpt"
    assert found["id"].startswith("1234ABCD-")
    types = {
        partitions.FAT: "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
        partitions.LINUX: "0FC63DAF-8483-4772-8E79-3D69D8477DE4",
    }
    for (kind, _), expected, seen in zip(
        volumes, table.partitions.values(), found["partitions"], strict=True
    ):
        place = (expected.start // 512, expected.size // 512)
        assert (seen["start"], seen["size"]) == place
        assert seen["type"] == types[kind]
    ids = [uuid.UUID(seen["uuid"]) for seen in found["partitions"]]
    assert len(set(ids)) == len(ids)


def test_sgdisk_finds_both_copies_whole(tmp_path: Path) -> None:
    disk = disk_of(a_table(), tmp_path / "disk")
    assert "No problems found" in Runner().run(["sgdisk", "-v", disk]).text


def test_the_ids_follow_from_the_number_of_the_disk_alone() -> None:
    assert head_of(a_table()) == head_of(a_table())
    other = Table(0x1234ABCE, a_table().partitions)
    assert gpt.decode(bytes(head_of(other)), MIB * 64, "disk").disk_id == 0x1234ABCE
    assert head_of(other)[1040:1056] != head_of(a_table())[1040:1056]


def test_old_tools_see_a_disk_that_is_in_use() -> None:
    table = a_table()
    found = partitions.decode(bytes(head_of(table)[:512]), gpt.disk_size(table), "disk")
    whole = Partition(gpt.PROTECTIVE, 512, gpt.disk_size(table) - 512)
    assert found.partitions == {1: whole}


def test_a_partition_of_another_system_has_no_type_that_we_know() -> None:
    head = head_of(a_table())
    head[1024 + 128 : 1024 + 144] = uuid.UUID("ebd0a0a2-b9e5-4433-87c0-68b6b72699c7").bytes_le
    assert gpt.decode(bytes(sealed(head)), 64 * MIB, "disk").partitions[2].kind == 0


def sealed(head: bytearray) -> bytearray:
    """Return `head` with the checksums that belong to it."""
    struct.pack_into("<I", head, 512 + 88, zlib.crc32(head[1024:]))
    struct.pack_into("<I", head, 512 + 16, 0)
    struct.pack_into("<I", head, 512 + 16, zlib.crc32(head[512 : 512 + 92]))
    return head


@pytest.mark.provokes("card.no-table")
@pytest.mark.parametrize(
    ("at", "value", "reason"),
    [
        (512 + 40, b"\x07", "header of its GPT is damaged"),
        (512 + 24, b"\x02", "header of its GPT is damaged"),
        (1024 + 32, b"\x01", "entries of its GPT are damaged"),
    ],
)
def test_a_damaged_table_is_refused(at: int, value: bytes, reason: str) -> None:
    head = head_of(a_table())
    head[at : at + len(value)] = value
    with pytest.raises(PiimageError, match=reason) as caught:
        tables.decode(bytes(head), 64 * MIB, "disk")
    assert caught.value.code == "card.no-table"


def test_partitions_that_overlap_or_exceed_the_disk_are_refused() -> None:
    table = a_table()
    head = bytes(head_of(table))
    with pytest.raises(PiimageError, match="overlap or exceed"):
        gpt.decode(head, table.end - 512, "disk")
    twice = Table(1, {1: table.partitions[1], 2: table.partitions[1]})
    with pytest.raises(PiimageError, match="overlap or exceed"):
        gpt.decode(bytes(head_of(twice)), 64 * MIB, "disk")


def test_a_table_that_is_cut_off_or_has_another_form_is_refused() -> None:
    head = head_of(a_table())
    with pytest.raises(PiimageError, match="cut off"):
        gpt.decode(bytes(head[:4096]), 64 * MIB, "disk")
    struct.pack_into("<I", head, 512 + 80, 64)
    with pytest.raises(PiimageError, match="unusual form"):
        gpt.decode(bytes(sealed(head)), 64 * MIB, "disk")


def test_a_table_is_read_in_the_form_that_the_disk_has() -> None:
    table = a_table()
    assert tables.decode(partitions.encode(table), table.end, "disk") == table
    assert tables.decode(bytes(head_of(table)), gpt.disk_size(table), "disk") == table
    assert tables.form_of(bytes(head_of(table))) is tables.FORMS["gpt"]
    assert tables.form_of(partitions.encode(table)) is tables.FORMS["mbr"]
