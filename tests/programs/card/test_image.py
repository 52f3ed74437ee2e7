from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from piimage import durable
from piimage.card import bmap, partitions
from piimage.card.ext4 import DataFile, Ext4Volume
from piimage.card.extents import Extent
from piimage.card.fat import FatVolume
from piimage.card.image import Card, CardPlan, write_card
from piimage.errors import InputError, PiimageError
from piimage.run import Runner
from tests.unit.card.volumes import old_card, part, tool
from tests.unit.durability import recording

MIB = 1 << 20
ID = uuid.UUID("12345678-9abc-8def-8123-456789abcdef")


def plan(identity: str = "one", layer: bytes = b"layer" * 99_999) -> CardPlan:
    files: dict[str, Path | bytes] = {"config.txt": b"x=1\n", "layers/a.squashfs": layer}
    return CardPlan(
        identity,
        0x1234_5678,
        (
            FatVolume("selector", "SELECTOR", 1, 8 * MIB, {"autoboot.txt": b"[all]\n"}, bits=16),
            FatVolume("slot A", "SLOT-A", 2, 40 * MIB, files),
            FatVolume("slot B", "SLOT-B", 3, 40 * MIB),
            Ext4Volume("data", "data", ID, ID, 32 * MIB, {"piimage/x": DataFile(b"x")}),
        ),
    )


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Card:
    """A card that the tests only read."""
    return write_card(Runner(), plan(), tmp_path_factory.mktemp("card") / "pi4.img")


@pytest.fixture
def old(tmp_path: Path) -> Card:
    """A card that a test writes anew."""
    return write_card(Runner(), plan(), tmp_path / "pi4.img")


def first_sector(card: Card) -> bytes:
    with card.image.open("rb") as file:
        return file.read(512)


def places(card: Card) -> list[partitions.Partition]:
    table = partitions.decode(first_sector(card), card.map.image_size, "x")
    return list(table.partitions.values())


def healthy(image: Path, volumes: Sequence[Path]) -> None:
    """Check a card and its volumes, each in a file of its own, with independent tools."""
    assert "No errors detected" in tool("sfdisk", "--verify", image)
    selector, slot, empty, data = volumes
    for fat in (selector, slot, empty):
        tool("fsck.vfat", "-n", fat)
    tool("e2fsck", "-fn", data)
    assert tool("mtype", "-i", slot, "::config.txt") == "x=1\n"
    assert tool("debugfs", "-R", "cat /piimage/x", data) == "x"


def test_independent_tools_find_a_healthy_card(card: Card, tmp_path: Path) -> None:
    volumes = [part(card.image, tmp_path / f"p{p.start}", p.start, p.size) for p in places(card)]
    healthy(card.image, volumes)
    assert card.image.stat().st_size == 121 * MIB


def test_the_map_makes_a_used_medium_a_healthy_card(card: Card, tmp_path: Path) -> None:
    image = card.image.read_bytes()
    medium = old_card(len(image))
    for mapped in bmap.decode(card.map_file.read_bytes(), "x").ranges:
        piece = image[mapped.extent.start : mapped.extent.end]
        assert hashlib.sha256(piece).hexdigest() == mapped.checksum
        medium[mapped.extent.start : mapped.extent.end] = piece
    with (tmp_path / "medium").open("wb") as file:
        file.truncate(len(medium))
        file.write(medium[:MIB])  # all that sfdisk reads
    volumes = [tmp_path / f"p{place.start}" for place in places(card)]
    for place, volume in zip(places(card), volumes, strict=True):
        volume.write_bytes(medium[place.start : place.end])
    healthy(tmp_path / "medium", volumes)
    assert medium[512:MIB].count(0) == MIB - 512  # no old GPT or boot code remains


def test_every_byte_that_is_not_zero_is_mapped(card: Card) -> None:
    image = bytearray(card.image.read_bytes())
    for mapped in card.map.ranges:
        image[mapped.extent.start : mapped.extent.end] = bytes(mapped.extent.size)
    assert image.count(0) == len(image)


def test_bmaptool_accepts_the_map(card: Card, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    tool("bmaptool", "copy", "--bmap", card.map_file, card.image, copy)
    assert copy.read_bytes() == card.image.read_bytes()
    damaged = part(card.image, tmp_path / "damaged.img", 0, card.map.image_size)
    with damaged.open("r+b") as file:
        file.seek(card.image.read_bytes().index(b"x=1\n"))
        file.write(b"x=2\n")
    with pytest.raises(AssertionError, match="checksum mismatch"):
        tool("bmaptool", "copy", "--bmap", card.map_file, damaged, copy)


def test_a_map_of_bmaptool_can_be_read(card: Card, tmp_path: Path) -> None:
    tool("bmaptool", "create", "-o", tmp_path / "foreign.bmap", card.image)
    foreign = bmap.decode((tmp_path / "foreign.bmap").read_bytes(), "x")
    assert foreign.image_size == card.map.image_size


def test_two_cards_of_one_plan_have_the_same_bytes(
    card: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "America/St_Johns")
    monkeypatch.setenv("LC_ALL", "C")
    (tmp_path / "elsewhere").mkdir()
    old = os.umask(0o077)
    try:
        again = write_card(Runner(), plan(), tmp_path / "elsewhere" / "other.img")
    finally:
        os.umask(old)
    assert again.image.read_bytes() == card.image.read_bytes()
    assert again.map_file.read_bytes() == card.map_file.read_bytes()
    assert again.image.stat().st_mode == card.image.stat().st_mode


def test_the_disk_has_the_id_of_the_plan(card: Card) -> None:
    assert first_sector(card)[440:444] == bytes.fromhex("78563412")


def test_a_card_that_the_check_refuses_leaves_the_old_card(old: Card, tmp_path: Path) -> None:
    before = old.image.read_bytes()
    sizes: list[int] = []

    def refuse(draft: Path) -> None:
        sizes.append(draft.stat().st_size)
        raise PiimageError("firmware.missing-file", "it would not boot")

    with pytest.raises(PiimageError, match="would not boot"):
        write_card(Runner(), plan("two"), old.image, refuse)
    assert sizes == [len(before)]
    assert old.image.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pi4.bmap", "pi4.img"]


def test_the_image_is_sparse(card: Card) -> None:
    assert card.image.stat().st_blocks * 512 <= card.map.mapped + MIB


def test_a_failed_write_leaves_the_old_card(old: Card, tmp_path: Path) -> None:
    before = old.image.read_bytes()
    with pytest.raises(PiimageError, match="slot A needs"):
        write_card(Runner(), plan(layer=bytes(41 * MIB)), old.image)
    assert old.image.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pi4.bmap", "pi4.img"]


class Spy:
    """A volume that records the modes of the files in the folder while it is written."""

    kind = partitions.LINUX
    size = 16 * MIB

    def __init__(self, volume: Ext4Volume) -> None:
        self._volume = volume
        self.modes: dict[str, int] = {}

    def write(self, runner: Runner, image: Path, offset: int) -> tuple[Extent, ...]:
        extents = self._volume.write(runner, image, offset)
        self.modes = {path.name: path.stat().st_mode & 0o777 for path in image.parent.iterdir()}
        return extents


@pytest.mark.parametrize("umask", [0o000, 0o022])
@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_an_unfinished_card_is_private(tmp_path: Path, umask: int, mode: int) -> None:
    spy = Spy(Ext4Volume("data", "data", ID, ID, 16 * MIB, {"x": DataFile(b"x", 0o600)}))
    modes: list[int] = []
    before = os.umask(umask)
    try:
        card = write_card(
            Runner(), CardPlan("one", 1, (spy,)), tmp_path / "pi4.img",
            lambda draft: modes.append(draft.stat().st_mode & 0o777), mode,
        )  # fmt: skip
    finally:
        os.umask(before)
    assert set(spy.modes.values()) == {0o600}
    assert modes == [0o600]
    assert [path.stat().st_mode & 0o777 for path in (card.image, card.map_file)] == [mode, mode]


def test_a_card_and_its_map_survive_a_power_cut(tmp_path: Path) -> None:
    with recording() as journal:
        card = write_card(Runner(), plan(), tmp_path / "pi4.img")
    journal.lasts(card.image)
    journal.lasts(card.map_file)


def test_there_is_never_a_map_of_another_image(old: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the new image gets its name, the map of the old image is durably removed."""
    stale: list[bool] = []
    folder = old.image.parent.stat()
    real = durable.put

    def put(draft: Path, target: Path) -> None:
        if target == old.image:
            synced = journal.synced((folder.st_dev, folder.st_ino))
            stale.append(old.map_file.exists() or not synced)
        real(draft, target)

    monkeypatch.setattr(durable, "put", put)
    with recording() as journal:
        again = write_card(Runner(), plan("two", b"other" * 99_999), old.image)
    assert stale == [False]
    assert bmap.decode(old.map_file.read_bytes(), "x") == again.map != old.map


def test_partitions_have_the_types_that_firmware_and_linux_expect(card: Card) -> None:
    """0x0C: FAT with LBA, 0x83: Linux (UEFI 2.10, 5.2; the types by Microsoft and Linux)."""
    first = first_sector(card)
    assert [first[446 + 16 * n + 4] for n in range(4)] == [0x0C, 0x0C, 0x0C, 0x83]
    assert first[510:] == b"\x55\xaa"
    assert [first[446 + 16 * n] for n in range(4)] == [0, 0, 0, 0]


def with_raw(raw: dict[int, Path], start: int = 4 * MIB) -> CardPlan:
    volume = FatVolume("boot", "BOOT", 1, 8 * MIB, {}, bits=16)
    return CardPlan("one", 1, (volume,), start=start, raw=raw)


def test_a_boot_loader_is_written_before_the_first_partition(tmp_path: Path) -> None:
    """As boot ROMs read it: Allwinner's at 8 KiB, Rockchip's second part at 8 MiB."""
    first, second = tmp_path / "first.bin", tmp_path / "second.bin"
    first.write_bytes(b"first" * 999)
    second.write_bytes(b"second" * 999)
    made = write_card(Runner(), with_raw({8192: first, 2 * MIB: second}), tmp_path / "a.img")
    data = made.image.read_bytes()
    assert data[8192:].startswith(first.read_bytes())
    assert data[2 * MIB :].startswith(second.read_bytes())
    assert places(made)[0].start == 4 * MIB
    mapped = [mapped.extent for mapped in made.map.ranges]
    assert any(extent.start <= 2 * MIB < extent.end for extent in mapped)


@pytest.mark.provokes("card.raw")
@pytest.mark.parametrize(
    ("at", "table"), [(512, "gpt"), (16384, "gpt"), (4 * MIB - 512, "mbr"), (5 * MIB, "mbr")]
)
def test_a_boot_loader_that_reaches_into_something_else_is_refused(
    tmp_path: Path, at: int, table: str
) -> None:
    loader = tmp_path / "loader.bin"
    loader.write_bytes(bytes(1024))
    plan = replace(with_raw({at: loader}), table=table)
    with pytest.raises(InputError, match=r"the 1024 bytes of loader\.bin at byte") as caught:
        write_card(Runner(), plan, tmp_path / "a.img")
    assert caught.value.code == "card.raw"
    assert [path.name for path in tmp_path.iterdir()] == ["loader.bin"]
