"""Recipes: the tool makes them, the agent lays the slot out; both from the same file system."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piimage.card.extents import Extent, total
from piimage.card.fat import FatVolume
from piimage.deploy.recipe import Recipe, delta, make_recipe
from piimage.run import Runner
from tests.unit.deploy.stand_in import AGENT

sys.path.insert(0, str(AGENT))

from piimage_agent import recipe as agent_recipe
from piimage_agent import slots
from piimage_agent.places import Room
from piimage_agent.refusal import Refused

from tests.examples import examples

MIB = 1 << 20
START = 8 * MIB


def volume(tmp_path: Path, *, word: bytes = b"quiet", size: int = 64 * MIB) -> FatVolume:
    layer, other = tmp_path / "layer", tmp_path / "kernel"
    layer.write_bytes(b"hsqs" + hashlib.sha256(b"layer").digest() * 90_001)
    other.write_bytes(hashlib.sha256(b"kernel").digest() * 60_000 + b"its end")
    (tmp_path / "piece").write_bytes(hashlib.sha256(b"kernel").digest() * 59_999 + b"x"[1:])
    files: dict[str, Path | bytes] = {
        "config.txt": b"enable_uart=1\n",
        "cmdline.txt": b"console=ttyAMA0 " + word,
        "kernel.img": other,
        "overlays/README": b"read me",
        "tree.dtb": b"\xd0\x0d" * 9000,
        "layers/" + "0a" * 32 + ".squashfs": layer,
    }
    return FatVolume("slot B", "SLOT-B", 0x1234ABCD, size, files)


def made(tmp_path: Path, slot: FatVolume) -> Recipe:
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    return make_recipe(slot, START, {"kernel.img": tmp_path / "piece"}, Runner(), scratch)


def sources(tmp_path: Path, recipe: Recipe) -> dict[str, str]:
    found = {}
    for digest, content in recipe.files.items():
        path = tmp_path / digest
        path.write_bytes(content if isinstance(content, bytes) else content.read_bytes())
        found[digest] = str(path)
    return found


def expected(tmp_path: Path, slot: FatVolume) -> tuple[bytes, list[Extent]]:
    image = tmp_path / "expected"
    with image.open("wb") as file:
        file.truncate(START + slot.size)
    used = slot.write(Runner(), image, START)
    return image.read_bytes()[START:], list(used)


def whole(device: Path) -> Room:
    """A slot that is a device of its own."""
    return Room(str(device), 0, None)


def lay_out(tmp_path: Path, recipe: Recipe, filled: bytes = b"\xee") -> Path:
    """Lay the slot out on a "device" that is full of other bytes."""
    device = tmp_path / "device"
    device.write_bytes(filled * (64 * MIB))
    slots.write(
        whole(device), agent_recipe.parse(recipe.data), sources(tmp_path, recipe), lambda done: None
    )
    return device


@pytest.mark.slow
def test_the_slot_is_what_a_build_writes_byte_by_byte(tmp_path: Path) -> None:
    slot = volume(tmp_path)
    device = lay_out(tmp_path, made(tmp_path, slot)).read_bytes()
    image, used = expected(tmp_path, slot)
    assert total(used) > 4 * MIB
    for extent in used:
        assert device[extent.start : extent.end] == image[extent.start : extent.end]


def test_only_large_files_are_named_and_the_rest_is_small(tmp_path: Path) -> None:
    recipe = made(tmp_path, volume(tmp_path))
    assert len(recipe.files) == 3  # the layer, the kernel and the tree
    assert len(recipe.data) < 8000
    assert recipe.length > 4 * MIB


def test_one_word_of_the_command_line_changes_no_file_that_is_named(tmp_path: Path) -> None:
    quiet, loud = (made(tmp_path, volume(tmp_path, word=word)) for word in (b"quiet", b"debug"))
    assert quiet.files.keys() == loud.files.keys()
    assert quiet.digest != loud.digest


def test_a_card_of_another_size_is_refused_and_left_alone(tmp_path: Path) -> None:
    recipe = made(tmp_path, volume(tmp_path))
    device = tmp_path / "device"
    device.write_bytes(b"\xee" * MIB)
    with pytest.raises(Refused, match="not as large"):
        slots.write(whole(device), agent_recipe.parse(recipe.data), {}, lambda done: None)
    assert device.read_bytes() == b"\xee" * MIB


@pytest.mark.slow
def test_a_damaged_source_leaves_no_file_system(tmp_path: Path) -> None:
    recipe = made(tmp_path, volume(tmp_path))
    found = sources(tmp_path, recipe)
    for path in found.values():
        Path(path).write_bytes(b"?" + Path(path).read_bytes()[1:])
    device = tmp_path / "device"
    device.write_bytes(bytes(64 * MIB))
    with pytest.raises(Refused, match="has not its own digest"):
        slots.write(whole(device), agent_recipe.parse(recipe.data), found, lambda done: None)
    assert device.read_bytes()[:4096] == bytes(4096)


@pytest.mark.slow
def test_a_card_that_loses_bytes_is_found_out_before_the_slot_becomes_valid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = made(tmp_path, volume(tmp_path))
    write_at = slots._write_at

    def lossy(fd: int, data: bytes, at: int) -> None:
        write_at(fd, data if at < 2 * MIB else bytes(len(data)), at)

    monkeypatch.setattr(slots, "_write_at", lossy)
    with pytest.raises(Refused, match="did not keep"):
        lay_out(tmp_path, recipe)
    assert (tmp_path / "device").read_bytes()[:4096] == bytes(4096)


def test_the_first_page_is_zeroed_first_and_written_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = made(tmp_path, volume(tmp_path))
    calls: list[str] = []
    write_at, fsync = slots._write_at, os.fsync

    def noted(fd: int, data: bytes, at: int) -> None:
        if at == 0:
            calls.append("head" if any(data) else "zeros")
        elif calls[-1] != "rest":
            calls.append("rest")
        write_at(fd, data, at)

    def synced(fd: int) -> None:
        calls.append("sync")
        fsync(fd)

    monkeypatch.setattr(slots, "_write_at", noted)
    monkeypatch.setattr(slots.os, "fsync", synced)
    lay_out(tmp_path, recipe)
    assert calls == ["zeros", "sync", "rest", "sync", "head", "sync"]


@given(st.binary(max_size=400).map(lambda data: data[: len(data) // 4 * 4]))
def test_differences_of_words_are_undone(data: bytes) -> None:
    assert agent_recipe.undelta(delta(data)) == data


def test_differences_are_those_of_words() -> None:
    assert delta(b"\x05\0\0\0\x06\0\0\0\x04\0\0\0") == b"\x05\0\0\0\x01\0\0\0\xfe\xff\xff\xff"


def hostile(line: object, literals: bytes = b"") -> bytes:
    return json.dumps(line).encode() + b"\n" + zlib.compress(literals)


PAGE = [[0, 4096]]
DIGEST = "0" * 64


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]\n",
        hostile({"size": 8192, "files": [], "literals": []}),
        hostile({"size": 8192, "files": [], "literals": [[0, 512]]}, bytes(512)),
        hostile({"size": 8192, "files": [], "literals": PAGE}, bytes(4092)),
        hostile({"size": 8192, "files": [], "literals": PAGE}, bytes(4100)),
        hostile({"size": 2048, "files": [], "literals": PAGE}, bytes(4096)),
        hostile(
            {"size": 1 << 30, "files": [[4096, 9, DIGEST, 1 << 29]], "literals": PAGE},
            bytes(4096),
        ),
        hostile(
            {"size": 8192, "files": [[512, 9, DIGEST, 1024]], "literals": PAGE},
            bytes(4096),
        ),
        hostile(
            {"size": 8192, "files": [[4096, 5000, DIGEST, 9096]], "literals": PAGE},
            bytes(4096),
        ),
        hostile(
            {"size": 8192, "files": [[4096, 9, "../x", 8192]], "literals": PAGE},
            bytes(4096),
        ),
        hostile(
            {"size": 8192, "files": [[-512, 9, DIGEST, 0]], "literals": PAGE},
            bytes(4096),
        ),
        hostile({"size": 8192, "files": [], "literals": PAGE})[:-9],
        hostile({"size": 1 << 40, "files": [], "literals": [[0, 1 << 30]]}),
    ],
)
def test_a_recipe_that_does_not_fit_together_is_refused(data: bytes) -> None:
    with pytest.raises(Refused):
        agent_recipe.parse(data)


def ordered(order: object) -> bytes:
    line = {"size": 8192, "files": [], "literals": PAGE, "order": order}
    return hostile(line, delta(bytes(4096)))


@pytest.mark.parametrize(
    "order", [[], [1], [1, 2, 3], "12", {"1": 2}, [True, 2], [-1, 0], [0, 1 << 37], [1.5, 2], 7]
)
def test_a_place_that_is_not_two_numbers_is_refused(order: object) -> None:
    with pytest.raises(Refused, match="first line is not readable"):
        agent_recipe.parse(ordered(order))


@pytest.mark.parametrize(("order", "place"), [([3, 4], (3, 4)), (None, (0, 0))])
def test_the_place_of_a_version_is_in_its_recipe(order: object, place: tuple[int, int]) -> None:
    """Recipes of older tools have none."""
    assert agent_recipe.parse(ordered(order)).order == place


@settings(max_examples=examples(60))
@given(st.binary(max_size=300))
def test_any_bytes_are_refused_and_raise_nothing_else(data: bytes) -> None:
    with pytest.raises(Refused):
        agent_recipe.parse(data)
