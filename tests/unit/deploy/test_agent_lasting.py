"""What the agent writes to /data outlasts a power cut: layers, generations, small files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from piimage_agent import generations
from piimage_agent.layers import find, incoming_layer, unmount_removed
from piimage_agent.refusal import Refused
from piimage_agent.root import Root, make_folders, write_file

from tests.unit.deploy.stand_in import layer, sha256
from tests.unit.durability import Journal, recording

LAYER = layer({"x": "y" * 1000})
DIGEST = sha256(LAYER)


@pytest.fixture
def root(tmp_path: Path) -> Root:
    (tmp_path / "data").mkdir()
    (tmp_path / "run/piimage").mkdir(parents=True)
    (tmp_path / "run/piimage/boot").write_text(f"PIIMAGE_SLOT_CONTAINERS='{'5' * 64}'\n")
    return Root(str(tmp_path))


@pytest.fixture
def journal(root: Root) -> Iterator[Journal]:
    """Recorded from the first boot on: nothing is below /data yet."""
    with recording() as made:
        yield made


def test_a_layer_lasts_with_the_folders_above_it(root: Root, journal: Journal) -> None:
    incoming = incoming_layer(root, DIGEST, len(LAYER))
    incoming.add(LAYER[:500])
    incoming.add(LAYER[500:])
    incoming.finish()
    path = f"{root.layers}/{DIGEST}.squashfs"
    assert Path(path).read_bytes() == LAYER
    journal.lasts(path)


def test_a_layer_that_went_on_later_lasts(root: Root, journal: Journal) -> None:
    first = incoming_layer(root, DIGEST, len(LAYER))
    first.add(LAYER[:500])
    with pytest.raises(Refused, match="ended after 500"):
        first.finish()
    part = Path(root.layers, f"{DIGEST}.part").stat()
    synced = [event for event in journal.events if event.kind == "sync"]
    assert synced[-1].inode == (part.st_dev, part.st_ino)  # the rest will build upon it
    second = incoming_layer(root, DIGEST, len(LAYER))
    second.add(LAYER[second.offset :])
    second.finish()
    journal.lasts(f"{root.layers}/{DIGEST}.squashfs")
    assert find(root, DIGEST) == f"{root.layers}/{DIGEST}.squashfs"


def test_a_generation_lasts_with_all_that_it_says(root: Root, journal: Journal) -> None:
    first = generations.create(root, "c" * 64, ["a" * 64], "first")
    second = generations.create(root, "d" * 64, ["a" * 64, "b" * 64], "second")
    for name, layers in ((first, "a"), (second, "ab")):
        folder = Path(root.generations, name)
        assert (folder / "layers").read_text().split() == [letter * 64 for letter in layers]
        assert (folder / "base").read_text() == f"{'5' * 64}\n"
        assert sorted(path.name for path in folder.iterdir()) == [
            "base", "containers", "layers", "note",
        ]  # fmt: skip
        for path in folder.iterdir():
            journal.lasts(path)


def test_a_small_file_lasts(root: Root, journal: Journal) -> None:
    make_folders(root.store)
    for text in (b"one", b"two"):
        write_file(f"{root.store}/file", text)
        journal.lasts(f"{root.store}/file")
        assert Path(f"{root.store}/file").read_bytes() == text


def test_what_is_kept_is_what_the_next_boot_uses(root: Root) -> None:
    first, second = (generations.create(root, letter * 64, [], letter) for letter in "cd")
    current, previous = (Path(root.store, f"{link}.{'5' * 64}") for link in ("current", "previous"))
    assert not generations.is_good(root, first)
    generations.keep(root, first, generations.SLOT)
    assert current.readlink() == Path(f"generations/{first}")
    assert generations.is_good(root, first)
    assert not previous.is_symlink()
    Path(f"{current}.new").symlink_to("of a change during which power was lost")
    generations.keep(root, second, first)
    assert [generations.linked(root, link) for link in ("current", "previous")] == [second, first]
    generations.keep(root, generations.SLOT, second)
    assert not current.is_symlink()
    assert generations.linked(root, "previous") == second


def test_what_is_not_there_is_not_kept(root: Root) -> None:
    make_folders(root.generations)
    with pytest.raises(Refused, match="the next boot cannot be set"):
        generations.keep(root, "gone", generations.SLOT)
    assert generations.booted(root) == generations.SLOT


def test_layers_whose_files_were_removed_are_unmounted_and_one_in_use_stays(root: Root) -> None:
    make_folders(root.layers)
    mounted = Path(root.run, "layers")
    for name in ("kept", "gone", "used"):
        (mounted / name).mkdir(parents=True)
    (mounted / "used/file").touch()  # a mounted folder cannot be removed either
    Path(root.layers, "kept.squashfs").touch()
    umount = Path(root.at("usr/bin/umount"))
    umount.parent.mkdir(parents=True)
    umount.write_text(f'#!/bin/sh\necho "$@" >{root.run}/asked\nexit 1\n')
    umount.chmod(0o755)
    unmount_removed(root)
    assert sorted(Path(f"{root.run}/asked").read_text().split()) == [
        f"{mounted}/gone", f"{mounted}/used",
    ]  # fmt: skip
    assert sorted(path.name for path in mounted.iterdir()) == ["kept", "used"]
    (mounted / "used/file").unlink()
    (mounted / "used").rmdir()
    umount.unlink()
    unmount_removed(root)  # nothing to ask for
