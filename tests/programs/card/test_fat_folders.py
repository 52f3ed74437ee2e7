"""FAT volumes whose folders have clusters and table sectors of their own."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from piimage.card.extents import total
from piimage.card.fat_folders import FolderedVolume, FolderSlot, layout_of
from piimage.card.fat_layout import SECTOR
from piimage.errors import InputError, PiimageError
from piimage.firmware.fat import FatReader
from tests.unit.card.volumes import OFFSET, flashed, tool, written

MIB = 1 << 20
FILES: dict[str, Path | bytes] = {
    "bootcode.bin": b"boot" * 9000,
    "config.txt": b"x" * 512,
    "a/kernel.img": hashlib.sha256(b"kernel").digest() * 60_000,
    "a/layers/" + "0a" * 32 + ".squashfs": hashlib.sha256(b"layer").digest() * 90_001,
    "a/overlays/README": b"read me",
}


def volume(
    size: int = 256, room: int = 100, files: dict[str, Path | bytes] = FILES
) -> FolderedVolume:
    return FolderedVolume("the boot partition", "PIIMAGE", 7, size * MIB, room * MIB, files)


def slot(name: str, files: dict[str, Path | bytes]) -> FolderSlot:
    return FolderSlot(volume(), name).with_files(files)


@pytest.mark.parametrize(("size", "room"), [(162, 64), (256, 100), (1024, 488)])
def test_it_is_a_sound_file_system_with_all_files(tmp_path: Path, size: int, room: int) -> None:
    alone, _ = written(volume(size, room), tmp_path)
    assert "uninitialized" in tool("fsck.fat", "-n", alone)  # the count of free clusters
    data = alone.read_bytes()
    reader = FatReader(data, 0, len(data), "card")
    assert {path: reader.read(path) for path in FILES} == FILES
    assert {"a", "b"} <= set(reader.names())
    assert set(reader.names("b")) - {".", ".."} == set()


def test_a_folder_shares_no_sector_with_what_is_not_in_it(tmp_path: Path) -> None:
    """What is written for one folder lies where everything else has nothing."""
    own = {name: slot(name, {"kernel.img": b"k" * 9_000_000}) for name in ("a", "b")}
    parts = {}
    for name, folder_slot in own.items():
        _, parts[name] = written(folder_slot, tmp_path, name)  # type: ignore[arg-type]
    every = sorted(extent for extents in parts.values() for extent in extents)
    assert all(first.end <= second.start for first, second in pairwise(every))
    assert all(not extent.start % SECTOR and not extent.end % SECTOR for extent in every)
    alone, _ = written(volume(), tmp_path)
    before = alone.read_bytes()
    for name, folder_slot in own.items():
        image, extents = tmp_path / name, parts[name]
        assert FolderSlot(volume(), name).head(layout_of(image, OFFSET)) in [
            e.start for e in extents
        ]
        with image.open("rb") as file:
            changed = bytearray(before)
            for extent in extents:
                file.seek(OFFSET + extent.start)
                changed[extent.start : extent.end] = file.read(extent.size)
        reader = FatReader(bytes(changed), 0, len(changed), "card")
        assert reader.read(f"{name}/kernel.img") == b"k" * 9_000_000
        others = {path: data for path, data in FILES.items() if not path.startswith(f"{name}/")}
        assert {path: reader.read(path) for path in others} == others
        (tmp_path / "changed").write_bytes(changed)
        tool("fsck.fat", "-n", tmp_path / "changed")
        assert folder_slot.prefix == f"{name}/"


def test_what_is_not_written_to_a_used_card_is_not_read_from_it(tmp_path: Path) -> None:
    alone, extents = written(volume(), tmp_path)
    assert total(extents) < 12 * MIB
    card = tmp_path / "card"
    card.write_bytes(flashed(alone, extents))
    tool("fsck.fat", "-n", card)
    reader = FatReader(card.read_bytes(), 0, 256 * MIB, "card")
    assert reader.read("a/kernel.img") == FILES["a/kernel.img"]


def test_files_that_people_add_lie_outside_of_both_folders(tmp_path: Path) -> None:
    alone, _ = written(volume(), tmp_path)
    rooms = [FolderSlot(volume(), name) for name in ("a", "b")]
    note = tmp_path / "note"
    note.write_bytes(b"n" * 20 * MIB)
    tool("mcopy", "-i", alone, note, "::note")
    layout = layout_of(alone, 0)
    first = min(room.head(layout) for room in rooms)
    data = alone.read_bytes()
    (run,) = FatReader(data, 0, len(data), "card").pieces("note")
    assert run[0] + run[1] <= first


def test_two_writes_give_the_same_bytes(tmp_path: Path) -> None:
    first, _ = written(volume(), tmp_path, "one")
    second, _ = written(volume(), tmp_path, "two")
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.provokes("card.slot-full")
@pytest.mark.parametrize(
    ("path", "named"),
    [("a/big", "the boot partition, folder a/ needs"), ("big", "the boot partition needs")],
)
def test_files_that_do_not_fit_into_their_room_are_refused(
    tmp_path: Path, path: str, named: str
) -> None:
    big = tmp_path / "big"
    with big.open("wb") as file:
        file.truncate(110 * MIB)
    with pytest.raises(PiimageError, match=named) as caught:
        written(volume(files={**FILES, path: big}), tmp_path)
    assert caught.value.code == "card.slot-full"


@pytest.mark.provokes("card.bad-name")
def test_names_that_a_fat_cannot_have_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the boot partition cannot hold"):
        written(volume(files={"a/x:y": b""}), tmp_path)


def test_a_slot_knows_its_own_files_alone() -> None:
    both = {**FILES, "b/kernel.img": b"other"}
    slot_b = FolderSlot(replace(volume(), files=both), "b")
    assert slot_b.files == {"kernel.img": b"other"}
    assert slot_b.name == "the boot partition, folder b/"
    assert slot_b.size == 256 * MIB
    assert isinstance(slot_b.with_files({"x": b"y"}).volume.files["b/x"], bytes)
