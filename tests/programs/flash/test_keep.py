"""A card that is flashed again keeps its /data, with file systems that mke2fs made."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from piimage.card import partitions
from piimage.card.partitions import Partition, Table
from piimage.cli.flash import _require_no_settings
from piimage.errors import DeviceRefused, InputError, PiimageError
from piimage.flash import keep, source, write
from piimage.run import Runner
from tests.unit.flash.cards import MIB, Card, bootable, card

START = 9 * MIB
GROWN = 20 * MIB  # as the Pi grew it on its card; 64 KiB less than the partition


def ext4(folder: Path, size: int, label: str = "data", text: str = "") -> bytes:
    """A file system, with a file `kept` if there is a text."""
    (folder / "tree").mkdir(exist_ok=True)
    if text:
        (folder / "tree/kept").write_text(text)
    made = folder / "fs"
    made.unlink(missing_ok=True)
    words = ["mke2fs", "-q", "-t", "ext4", "-b", "4096", "-L", label, "-d", folder / "tree", made]
    subprocess.run(
        [*words, f"{size // 1024}k"], check=True, env={"PATH": "/usr/sbin:/sbin:/usr/bin"}
    )
    return made.read_bytes()


def laid_out(data_start: int, data: bytes, fill: bytes, size: int, disk_id: int) -> bytearray:
    """A card with a partition full of `fill`, and `data` as its data partition."""
    whole = bytearray(size)
    slot = Partition(partitions.FAT, MIB, data_start - MIB)
    last = Partition(partitions.LINUX, data_start, min(size - data_start, len(data) + 65536))
    whole[:512] = partitions.encode(Table(disk_id, {1: slot, 2: last}))
    whole[MIB:data_start] = fill * ((data_start - MIB) // len(fill))
    whole[data_start : data_start + len(data)] = data
    return whole


@pytest.fixture
def image(tmp_path: Path) -> source.Image:
    path = tmp_path / "new.img"
    data = ext4(tmp_path, 4 * MIB)
    path.write_bytes(laid_out(START, data, b"new!", START + 4 * MIB + 65536, 7))
    return source.find(path)


def used_card(
    folder: Path, start: int = START, label: str = "data", size: int = GROWN, room: int = 32 * MIB
) -> Card:
    disk = card(room)
    data = ext4(folder, size, label, "of the plants")
    disk.bytes[:] = laid_out(start, data, b"old!", max(room, start + size), 5)[:room]
    return disk


def flashed(disk: Card, image: source.Image, *, resume: bool = False) -> None:
    kept = keep.kept_partition(disk, image, Runner(), resume=resume)
    write.flash(disk, image, Runner(), resume=resume, kept=kept)


def table_of(disk: Card) -> Table:
    return partitions.decode(bytes(disk.bytes[:512]), disk.size, "card")


def test_the_system_is_new_and_data_is_what_it_was(tmp_path: Path, image: source.Image) -> None:
    disk = used_card(tmp_path)
    before = bytes(disk.bytes[START:])
    flashed(disk, image)
    assert bytes(disk.bytes[START:]) == before
    assert bytes(disk.bytes[MIB:START]) == b"new!" * (8 * MIB // 4)
    assert bootable(disk.bytes)
    found = table_of(disk)
    assert found.disk_id == 7
    assert found.partitions == {
        1: Partition(partitions.FAT, MIB, 8 * MIB),
        2: Partition(partitions.LINUX, START, GROWN),
    }
    (tmp_path / "data").write_bytes(disk.bytes[START : START + GROWN])
    subprocess.run(["e2fsck", "-fn", tmp_path / "data"], check=True, capture_output=True)
    text = subprocess.run(
        ["debugfs", "-R", "cat /kept", tmp_path / "data"], check=True, capture_output=True
    ).stdout
    assert text == b"of the plants"


def test_an_interrupted_flash_is_resumed_with_its_data(tmp_path: Path, image: source.Image) -> None:
    disk = used_card(tmp_path)
    before = bytes(disk.bytes[START:])

    def pull(card: Card, operation: str, offset: int, data: memoryview) -> None:
        if operation == "write" and offset >= 4 * MIB:
            raise KeyboardInterrupt

    pulled = Card("card", -1, disk.size, 512, None, disk.bytes, pull)
    with pytest.raises(PiimageError, match="the flash was interrupted"):
        flashed(pulled, image)
    assert not bootable(disk.bytes)
    flashed(disk, image, resume=True)
    assert bytes(disk.bytes[START:]) == before
    assert table_of(disk).partitions[2] == Partition(partitions.LINUX, START, GROWN)


@pytest.mark.provokes("flash.no-data-to-keep")
@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"start": 10 * MIB}, f"begins at {10 * MIB}, that of the image at {START}"),
        ({"label": "rootfs"}, "there is no data partition of piimage"),
        ({"room": 24 * MIB}, "exceed the disk"),
    ],
)
def test_what_cannot_be_kept_is_refused_before_anything_is_written(
    tmp_path: Path, image: source.Image, fields: dict[str, int | str], reason: str
) -> None:
    disk = used_card(tmp_path, **fields)  # type: ignore[arg-type]  # by its names
    before = bytes(disk.bytes)
    with pytest.raises(DeviceRefused, match=reason):
        flashed(disk, image)
    assert bytes(disk.bytes) == before


@pytest.mark.provokes("flash.no-data-to-keep")
def test_a_file_system_that_the_card_does_not_hold_is_not_kept_by_a_resumed_flash(
    tmp_path: Path, image: source.Image
) -> None:
    disk = used_card(tmp_path, room=24 * MIB)
    with pytest.raises(DeviceRefused, match="ends behind the end of the card"):
        keep.kept_partition(disk, image, Runner(), resume=True)


@pytest.mark.provokes("flash.kept-settings")
def test_a_card_that_keeps_its_data_gets_no_settings() -> None:
    _require_no_settings({})
    with pytest.raises(InputError, match="piimage provision"):
        _require_no_settings({"piimage/provision/hostname"})


@pytest.mark.provokes("flash.no-data-to-keep")
def test_a_card_of_something_else_is_refused(image: source.Image) -> None:
    with pytest.raises(DeviceRefused, match="/data cannot be kept"):
        flashed(card(), image)


@pytest.mark.parametrize(
    ("contents", "holds"),
    [
        (["vfat SELECTOR", "vfat SLOT-A", "vfat SLOT-B", "ext4 data"], True),
        (["vfat PIIMAGE", "ext4 data"], True),
        (["ext4 data"], False),
        (["vfat bootfs", "ext4 rootfs"], False),
        ([], False),
    ],
)
def test_a_card_of_piimage_is_known_by_its_file_systems(contents: list[str], holds: bool) -> None:
    assert keep.holds_data(contents) is holds
