"""Power cuts while a slot is written and decided: whatever a lost cache leaves, one version boots.

Between two syncs a card may have kept any of the writes and lost the others. Each such state of the
partitions is made from a record of all writes and syncs, and read as the boot loader would.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from piimage_agent import recipe as agent_recipe
from piimage_agent import root as agent_root
from piimage_agent import selector, slots
from piimage_agent.choices import BY_KIND, PI, Choices
from piimage_agent.folders import Folders
from piimage_agent.places import Room

from piimage.card.fat import FatVolume
from piimage.card.fat_folders import FolderSlot
from piimage.deploy.recipe import Recipe, make_recipe
from piimage.firmware.fat import FatReader
from piimage.firmware.writer import autoboot
from piimage.run import Runner
from tests.programs.deploy.efi_stand import EfiStand
from tests.programs.deploy.folders_stand import FoldersStand
from tests.programs.deploy.slots_stand import KERNEL
from tests.programs.deploy.uboot_stand import UBootStand

MIB = 1 << 20
FILES: dict[str, Path | bytes] = {
    "kernel.img": hashlib.sha256(b"kernel").digest() * 30_000,
    "config.txt": b"arm_64bit=1\n",
    "layers/one.squashfs": hashlib.sha256(b"layer").digest() * 40_000,
}


@dataclass
class Record:
    """The writes of one file, up to each sync; none after the last one."""

    epochs: list[list[tuple[int, bytes]]] = field(default_factory=lambda: [[]])

    def states(self, before: bytes, chance: random.Random) -> Iterator[tuple[int, bytes]]:
        """Yield contents that the card may have, and the number of syncs before them."""
        kept = bytearray(before)
        for number, epoch in enumerate(self.epochs[:-1]):
            for survivors in _choices(len(epoch), chance):
                state = bytearray(kept)
                for index in survivors:
                    at, data = epoch[index]
                    state[at : at + len(data)] = data
                yield number, bytes(state)
            for at, data in epoch:
                kept[at : at + len(data)] = data
        yield len(self.epochs) - 1, bytes(kept)


def _choices(count: int, chance: random.Random) -> Iterator[list[int]]:
    """Yield no write, each alone, all but each, all, prefixes, and some at random."""
    everything = list(range(count))
    yield []
    yield everything
    for index in everything:
        yield [index]
        yield everything[:index]
        yield [other for other in everything if other != index]
    for _ in range(20):
        yield [index for index in everything if chance.random() < 0.5]


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> Record:
    """A record of all that is written by file descriptors."""
    found = Record()
    pwrite, fsync = os.pwrite, os.fsync

    def noted(fd: int, data: bytes, at: int) -> int:
        found.epochs[-1].append((at, bytes(data)))
        return pwrite(fd, data, at)

    def synced(fd: int) -> None:
        found.epochs.append([])
        fsync(fd)

    monkeypatch.setattr(os, "pwrite", noted)
    monkeypatch.setattr(os, "fsync", synced)
    return found


def made(tmp_path: Path, volume: FatVolume) -> tuple[Recipe, dict[str, str]]:
    recipe = make_recipe(volume, MIB, {}, Runner(), tmp_path)
    sources = {}
    for digest, content in recipe.files.items():
        assert isinstance(content, bytes)
        path = tmp_path / digest
        path.write_bytes(content)
        sources[digest] = str(path)
    return recipe, sources


def boots(slot: bytes) -> bool:
    """Return whether a boot loader finds a file system in the slot."""
    return slot[510:512] == b"\x55\xaa"


def volume(serial: int, files: dict[str, Path | bytes]) -> FatVolume:
    return FatVolume("volume", "VOLUME", serial, 5 * MIB, files, 16)


def device_with(path: Path, content: FatVolume) -> bytes:
    path.write_bytes(bytes(content.size))
    content.write(Runner(), path, 0)
    return path.read_bytes()


def test_a_slot_is_no_file_system_or_a_whole_one_after_any_cut(
    tmp_path: Path, record: Record
) -> None:
    device = tmp_path / "device"
    before = device_with(device, volume(1, {"kernel.img": b"old" * 9000}))
    recipe, sources = made(tmp_path, volume(2, FILES))
    record.epochs[:] = [[]]
    slots.write(
        Room(str(device), 0, None), agent_recipe.parse(recipe.data), sources, lambda done: None
    )
    after = device.read_bytes()
    assert FatReader(after, 0, len(after), "slot").read("kernel.img") == FILES["kernel.img"]
    outcomes = set()
    for syncs, state in record.states(before, random.Random(1)):
        outcomes.add((syncs, boots(state)))
        if boots(state):
            assert state == (before if syncs == 0 else after)
    # Without a sync the old one or none; then none; with the last one the new one for sure.
    assert outcomes == {(0, True), (0, False), (1, False), (2, False), (2, True), (3, True)}


def test_the_selector_names_one_of_the_two_slots_after_any_cut(
    tmp_path: Path, record: Record
) -> None:
    device = tmp_path / "selector"
    files: dict[str, Path | bytes] = {"autoboot.txt": autoboot(2).encode(), "user-data": b"x" * 999}
    before = device_with(device, volume(1, files))
    record.epochs[:] = [[]]
    chosen = selector.Selector(str(device))
    chosen.set("2", "3")
    chosen.set("3", "2")
    found = set()
    for syncs, state in record.states(before, random.Random(1)):
        (tmp_path / "state").write_bytes(state)
        found.add((syncs, selector.Selector(str(tmp_path / "state")).active()))
    assert found == {(0, "2"), (1, "2"), (1, "3"), (2, "3")}
    assert [[len(data) for _, data in epoch] for epoch in record.epochs] == [[512], [512], []]
    after = device.read_bytes()
    changed = [at for at in range(len(before)) if before[at] != after[at]]
    assert max(changed) - min(changed) < 128


def folder_cut(tmp_path: Path, record: Record) -> Iterator[tuple[int, bytes, FatReader]]:
    """Write the folder b/ over an older version; yield what the card may have after any cut."""
    device = tmp_path / "device"
    old = FoldersStand.card({"kernel.img": KERNEL})
    with_both = replace(old, files={**old.files, "b/kernel.img": b"old" * 9000})
    device.write_bytes(bytes(with_both.size))
    with_both.write(Runner(), device, 0)
    before = device.read_bytes()
    slot = FolderSlot(old, "b").with_files({**FoldersStand.selecting("b/"), **FILES})
    recipe = make_recipe(slot, 0, {}, Runner(), tmp_path)
    sources = {}
    for digest, content in recipe.files.items():
        assert isinstance(content, bytes)
        (tmp_path / digest).write_bytes(content)
        sources[digest] = str(tmp_path / digest)
    folders = Folders(str(device))
    room = Room(str(device), folders.head("b/"), folders.room("b/"))
    record.epochs[:] = [[]]
    slots.write(room, agent_recipe.parse(recipe.data), sources, lambda done: None)
    for syncs, state in record.states(before, random.Random(1)):
        yield syncs, state, FatReader(state, 0, len(state), "card")


def test_a_folder_is_empty_or_a_whole_version_after_any_cut_and_the_other_one_untouched(
    tmp_path: Path, record: Record
) -> None:
    outcomes = set()
    for syncs, state, reader in folder_cut(tmp_path, record):
        assert reader.read("a/kernel.img") == KERNEL
        assert [reader.exists(name) for name in ("config.txt", "bootcode.bin")] == [True, True]
        names = set(reader.names("b")) - {".", ".."}
        found = "empty"
        if names:
            found = "new" if reader.read("b/config.txt") == FILES["config.txt"] else "old"
            whole = FILES["kernel.img"] if found == "new" else b"old" * 9000
            assert reader.read("b/kernel.img") == whole
        outcomes.add((syncs, found))
        assert len(state) == FoldersStand.card({}).size
    assert outcomes == {
        (0, "old"), (0, "empty"), (1, "empty"), (2, "empty"), (2, "new"), (3, "new"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("stand", "choices"),
    [(FoldersStand, PI), (EfiStand, BY_KIND["efi"]), (UBootStand, BY_KIND["sector"])],
)
def test_one_of_the_two_folders_is_named_after_any_cut(
    tmp_path: Path, record: Record, stand: type[FoldersStand], choices: Choices
) -> None:
    device = tmp_path / "device"
    plain = stand.card({})
    both = {f"b/{name}": data for name, data in stand.selecting("b/").items()}
    device.write_bytes(bytes(plain.size))
    replace(plain, files={**plain.files, **both}).write(Runner(), device, 0)
    before = device.read_bytes()
    record.epochs[:] = [[]]
    folders = Folders(str(device), choices)
    folders.set("a/", "b/")  # for the try
    folders.set("b/", "a/")  # keeps it
    found = set()
    for syncs, state in record.states(before, random.Random(1)):
        (tmp_path / "state").write_bytes(state)
        found.add((syncs, Folders(str(tmp_path / "state"), choices).active()))
    sizes = [[len(data) for _, data in epoch] for epoch in record.epochs]
    # A try of a new card leads to b/ already: the first file decides, and then comes that of a try.
    assert sizes == [[512], [512], []]
    assert found == {(0, "a/"), (0, "b/"), (1, "b/"), (2, "b/")}


def test_the_agent_writes_what_the_build_would_write(tmp_path: Path) -> None:
    for active, other in ((2, 3), (3, 2)):
        padded = selector.text(str(active), str(other)).ljust(128, b"\n")
        assert padded.decode() == autoboot(active, other)


@pytest.mark.parametrize(
    ("files", "bits", "reason"),
    [
        ({}, 16, "no autoboot.txt"),
        ({"autoboot.txt": b"x" * 600}, 16, "impossible size"),
        ({"autoboot.txt": b"[all]\n"}, 32, "not a FAT16"),
    ],
)
def test_a_card_without_a_fitting_selector_is_refused(
    tmp_path: Path, files: dict[str, Path | bytes], bits: int, reason: str
) -> None:
    device = tmp_path / "selector"
    device.write_bytes(bytes(40 * MIB))
    FatVolume("selector", "S", 1, 40 * MIB, files, bits).write(Runner(), device, 0)
    with pytest.raises(selector.Refused, match=reason):
        selector.Selector(str(device))


def test_a_selector_that_is_too_short_to_name_both_slots_is_not_touched(tmp_path: Path) -> None:
    device = tmp_path / "selector"
    before = device_with(device, volume(1, {"autoboot.txt": b"[all]\nboot_partition=2\n"}))
    with pytest.raises(selector.Refused, match="too short"):
        selector.Selector(str(device)).set("2", "3")
    assert device.read_bytes() == before


class _Cut(Exception):
    """The power goes."""


def _cut_at(calls: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the power go before the call number `calls` that changes a name or a file's bytes."""
    count = iter(range(calls))

    def cutting(name: str) -> None:
        real = getattr(os, name)

        def call(*words: object, **more: object) -> object:
            if next(count, None) is None:
                raise _Cut
            return real(*words, **more)

        monkeypatch.setattr(os, name, call)

    for name in ("pwrite", "ftruncate", "link", "rename", "unlink"):
        cutting(name)


@pytest.mark.parametrize("calls", range(8))
def test_a_journal_is_the_old_or_the_new_one_after_any_cut_and_takes_no_more_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    path = tmp_path / "state"
    old, new, later = (text.ljust(8192, b"\n") for text in (b"old", b"new", b"later"))
    for _ in range(2):
        agent_root.exchange_file(str(path), old)
    files = {found.stat().st_ino for found in tmp_path.iterdir()}
    with monkeypatch.context() as patched:
        _cut_at(calls, patched)
        try:
            agent_root.exchange_file(str(path), new)
        except _Cut:
            assert path.read_bytes() in (old, new)
        else:
            assert path.read_bytes() == new
    agent_root.exchange_file(str(path), later)
    assert path.read_bytes() == later
    assert {found.stat().st_ino for found in tmp_path.iterdir()} == files
