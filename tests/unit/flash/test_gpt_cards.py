"""Disks with a GPT are flashed as cards with an MBR are."""

from __future__ import annotations

from pathlib import Path

import pytest

from piimage.card import gpt, partitions
from piimage.card.partitions import Partition, Table
from piimage.errors import PiimageError
from piimage.flash import keep, provision, source
from piimage.flash.content import require_card
from piimage.run import Runner

MIB = 1 << 20


def table() -> Table:
    placed = partitions.lay_out([(partitions.FAT, 40 * MIB), (partitions.LINUX, 8 * MIB)])
    return Table(0x0BADCAFE, dict(enumerate(placed, start=1)))


@pytest.fixture
def image(tmp_path: Path) -> source.Image:
    path, size = tmp_path / "new.img", gpt.disk_size(table())
    with path.open("wb") as file:
        file.truncate(size)
        for start, sectors in gpt.encode(table(), size).items():
            file.seek(start)
            file.write(sectors)
    return source.find(path)


def test_an_image_with_a_gpt_is_a_card_and_its_data_partition_is_found(image: source.Image) -> None:
    first = source.first_bytes(image, Runner())
    assert image.size is not None
    require_card(image.path.read_bytes()[: 64 << 10], image.size, "x")
    assert provision.data_partition(first, image.size, "x") == table().partitions[2]


def test_the_data_partition_of_a_card_is_kept_in_the_table_of_the_image() -> None:
    size = 256 * MIB
    head = bytearray(MIB)
    whole = gpt.encode(table(), gpt.disk_size(table()))[0]
    head[: len(whole)] = whole
    head[:4] = b"code"
    kept = Partition(partitions.LINUX, table().partitions[2].start, 100 * MIB)
    keep.with_partition(memoryview(head), size, kept)
    found = gpt.decode(bytes(head[: gpt.HEAD]), size, "x")
    assert found == Table(0x0BADCAFE, {1: table().partitions[1], 2: kept})
    assert head[:4] == b"code"


@pytest.mark.provokes("card.no-data")
def test_a_disk_whose_last_partition_is_of_another_system_has_no_data() -> None:
    of_fat = Table(1, {1: table().partitions[1]})
    head = gpt.encode(of_fat, 64 * MIB)[0]
    with pytest.raises(PiimageError, match="no data partition"):
        provision.data_partition(head, 64 * MIB, "x")
