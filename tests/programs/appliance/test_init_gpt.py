"""The initramfs's script on disks with a GPT: which disk it is, growth of the data partition."""

from __future__ import annotations

from pathlib import Path

import pytest

from piimage.card import gpt, partitions
from piimage.card.partitions import Table
from piimage.errors import PiimageError
from piimage.run import Runner
from tests.programs.appliance.scripts import Pi

MIB = 1 << 20
ROOM = 64 * MIB
"""What the disk has more than the image."""


@pytest.fixture
def pi(tmp_path: Path) -> Pi:
    return Pi(tmp_path)


@pytest.fixture
def disk(pi: Pi) -> Path:
    """A disk that is larger than the image that was written to it."""
    path = pi.path("dev/vda")
    size = gpt.disk_size(_table())
    with path.open("wb") as file:
        file.truncate(size + ROOM)
        for start, sectors in gpt.encode(_table(), size).items():
            file.seek(start)
            file.write(sectors)
    return path


def _table() -> Table:
    placed = partitions.lay_out([(partitions.FAT, 40 * MIB), (partitions.LINUX, 8 * MIB)])
    return Table(0x0BADCAFE, dict(enumerate(placed, start=1)))


def _grow(pi: Pi, disk: Path) -> None:
    functions = pi.initramfs_functions()
    sectors = disk.stat().st_size // 512
    pi.sh(f'. {functions}; . {pi.grow_gpt()}; grow_gpt "{disk}" 2 {sectors}')


def _read(disk: Path) -> Table:
    with disk.open("rb") as file:
        return gpt.decode(file.read(gpt.HEAD), disk.stat().st_size, "disk")


def test_the_disk_is_told_by_the_first_part_of_its_guid(pi: Pi, disk: Path) -> None:
    functions = pi.initramfs_functions()
    functions.write_text(functions.read_text().replace('"/dev/$1"', f'"{disk}"'))
    assert pi.sh(f". {functions}; TABLE=gpt; disk_id vda") == "0badcafe"


def test_the_data_partition_grows_to_the_copy_of_the_table(pi: Pi, disk: Path) -> None:
    before = _table().partitions[2]
    _grow(pi, disk)
    grown = _read(disk)
    assert grown.partitions[1] == _table().partitions[1]
    assert grown.partitions[2].start == before.start
    assert grown.partitions[2].end == disk.stat().st_size - 33 * 512
    assert grown.disk_id == 0x0BADCAFE
    assert not pi.path("run/piimage/gpt").exists()


def test_both_copies_are_those_that_the_build_would_write(pi: Pi, disk: Path) -> None:
    _grow(pi, disk)
    size = disk.stat().st_size
    content = disk.read_bytes()
    for start, sectors in gpt.encode(_read(disk), size).items():
        # The first sector is the MBR, which tells old tools of the size of the image.
        skipped = 512 if start == 0 else 0
        assert content[start + skipped : start + len(sectors)] == sectors[skipped:]


def test_independent_readers_find_the_grown_table_whole(pi: Pi, disk: Path) -> None:
    _grow(pi, disk)
    assert "No problems found" in Runner().run(["sgdisk", "-v", disk]).text
    assert "No errors detected" in Runner().run(["sfdisk", "--verify", disk]).text


def test_a_power_cut_between_the_copies_leaves_one_that_is_whole(pi: Pi, disk: Path) -> None:
    """Without its first copy, the disk has the partitions of the second."""
    _grow(pi, disk)
    with disk.open("r+b") as file:
        file.seek(512)
        file.write(bytes(512))
    with pytest.raises(PiimageError, match=r"GPT"):
        _damaged(disk)
    found = Runner().run(["sfdisk", "--dump", disk], accept=range(256)).text
    assert f"size={(disk.stat().st_size - 33 * 512 - _table().partitions[2].start) // 512}" in (
        found.replace(" ", "")
    )


def _damaged(disk: Path) -> None:
    gpt.decode(disk.read_bytes()[: gpt.HEAD], disk.stat().st_size, "disk")


def test_a_disk_without_a_gpt_is_left_alone(pi: Pi, disk: Path) -> None:
    empty = bytes(disk.stat().st_size)
    disk.write_bytes(empty)
    functions = pi.initramfs_functions()
    pi.sh(f'. {functions}; . {pi.grow_gpt()}; ! grow_gpt "{disk}" 2 4096')
    assert disk.read_bytes() == empty
    assert pi.console() == [f"piimage: {disk} has no GPT in its second sector"]
