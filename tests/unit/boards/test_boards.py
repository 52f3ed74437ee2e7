from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piimage import resources
from piimage.boards import (
    board_names,
    fitting_source,
    known_boards,
    load_board,
    overlay_sources,
    parse_board,
    search_path,
)
from piimage.errors import InputError, PiimageError
from piimage.firmware import devicetree
from piimage.run import Runner
from tests.examples import examples
from tests.unit.yamls import dumped, loaded

SHIPPED = ("arm64-uefi", "pi3", "pi4", "pi5", "qemu-virt", "zero2w")


def data_of(name: str) -> dict[str, Any]:
    found = loaded((resources.path("boards") / f"{name}.yml").read_text())
    assert isinstance(found, dict)
    return found


def test_all_shipped_boards_are_listed() -> None:
    assert board_names() == SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_board_is_valid_and_named(name: str) -> None:
    board = load_board(name)
    assert board.name == name
    assert len(set(board.modules.boot)) == len(board.modules.boot)
    assert not set(board.modules.boot) & {*board.modules.late, *board.modules.other_disks}
    assert {"usb-storage", "uas", "sd_mod"} <= set(board.modules.other_disks)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_overlay_of_a_board_compiles(name: str, runner: Runner) -> None:
    for source in overlay_sources(load_board(name)).values():
        assert devicetree.is_blob(devicetree.compile_overlay(runner, source))


@pytest.mark.parametrize("name", ["pi3", "pi4", "pi5", "zero2w"])
def test_the_buses_of_the_header_and_the_card_have_the_same_numbers_on_every_pi(name: str) -> None:
    sources = overlay_sources(load_board(name))
    applied = [source for n, source in sources.items() if n in load_board(name).overlays.always]
    text = "".join(source.read_text() for source in applied)
    assert [f"\t{alias} = " in text for alias in ("mmc0", "mmc1", "i2c1")] == [True] * 3


@pytest.mark.parametrize("name", ["pi3", "pi4", "zero2w"])
def test_every_overlay_for_an_emulator_compiles(name: str, runner: Runner) -> None:
    emulator = load_board(name).emulator
    assert emulator is not None
    for fit in emulator.fit:
        source = resources.path("boards") / "emulator" / f"{fit}.dtso"
        assert devicetree.is_blob(devicetree.compile_overlay(runner, source))


def test_only_the_pi_5_uses_the_backports_kernel() -> None:
    suites = {name: load_board(name).kernel.suite for name in SHIPPED}
    assert {name for name, suite in suites.items() if suite == "trixie-backports"} == {"pi5"}


def test_boards_that_select_a_partition_have_four_partitions_and_the_others_two() -> None:
    numbers = {name: load_board(name).layout.data for name in SHIPPED}
    folders = {"arm64-uefi": 2, "pi3": 2, "zero2w": 2}
    assert numbers == {**folders, "pi4": 4, "pi5": 4, "qemu-virt": 4}


def test_a_folder_of_the_user_comes_before_the_shipped_boards(tmp_path: Path) -> None:
    data = data_of("pi4") | {"title": "My Pi"}
    (tmp_path / "pi4.yml").write_text(dumped(data))
    (tmp_path / "mine.yml").write_text(dumped(data))
    assert load_board("pi4", [tmp_path]).title == "My Pi"
    assert "mine" in board_names([tmp_path])
    assert load_board("pi3", [tmp_path, tmp_path / "absent"]).name == "pi3"


@pytest.mark.provokes("boards.unknown")
@pytest.mark.parametrize("name", ["pi44", "../boards/pi4", "", "a\0b"])
def test_an_unknown_board_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(InputError, match="qemu-virt") as caught:
        load_board(name)
    assert caught.value.code == "boards.unknown"


@pytest.mark.provokes("boards.unreadable")
@pytest.mark.parametrize(
    "text", [b"a: [", b"\xff\xfe\x00", b"? [a]\n: {b}\n- c", b"x: !!python/none 1", b"[" * 1500]
)
def test_a_file_that_is_not_yaml_is_refused(text: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad.yml").write_bytes(text)
    with pytest.raises(PiimageError) as caught:
        load_board("bad", [tmp_path])
    assert caught.value.code == "boards.unreadable"
    assert str(tmp_path) in str(caught.value)


PI = {"title": "x", "tree": "x.dtb", "filters": ["pi4"]}
BAD: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("an unknown key", {"titel": "x"}, "titel"),
    ("a path that escapes", {"firmware.files": ["../../etc/passwd"]}, "firmware.files.0"),
    ("an absolute path", {"models": [{"title": "x", "tree": "/boot/x.dtb"}]}, "models.0.tree"),
    ("no default device tree", {"models": [{**PI, "when": "pi4"}]}, "without a filter"),
    ("two defaults", {"models": [PI, {**PI, "tree": "y.dtb"}]}, "without a filter"),
    ("a filter of others", {"models": [PI, {**PI, "when": "cm4"}]}, "models.1.when"),
    ("no model", {"models": []}, "models"),
    ("a word with a blank", {"cmdline": ["a b"]}, "cmdline.0"),
    ("a line with a line feed", {"config": ["a=1\nb=2"]}, "config.0"),
    ("an unknown layout", {"layout.kind": "gpt"}, "layout"),
    ("an unknown boot chain", {"firmware.chain": "bcm2835"}, "firmware.chain"),
    ("an empty slot", {"layout.slot_mib": 0}, "slot_mib"),
    ("an unknown overlay", {"overlays.always": ["nonesuch"]}, "nonesuch"),
    (
        "limits in the wrong order",
        {"emulator.cpus": {"default": 1, "least": 2, "most": 4}},
        "least",
    ),
    ("an option for QEMU", {"emulator.machine": "virt -hda /dev/sda"}, "emulator.machine"),
    ("a function of an unknown overlay", {"functions.i2c.overlays": ["i3c"]}, "i3c"),
    (
        "a function of an unknown model",
        {"functions.usb.absent_on": ["A Pi"]},
        r"functions\.usb.*A Pi",
    ),
    ("a console that is not in cmdline", {"console": "ttyS0"}, "last console="),
    (
        "a boot loader that no package brings",
        {"firmware.raw": [{"file": "u-boot.bin", "at": 8192}]},
        r"firmware\.raw: no line of files ends with u-boot\.bin",
    ),
    (
        "another name of no file",
        {"firmware.names": {"a.efi": "b.efi"}},
        r"firmware\.names: no line",
    ),
    ("no kernel package", {"kernel.packages": []}, "kernel.packages"),
)


@pytest.mark.provokes("boards.unreadable")
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "loop"])
def test_a_path_that_is_not_a_regular_file_is_refused_at_once(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.yml"
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
        case "folder":
            path.mkdir()
        case "loop":
            path.symlink_to(path)
    with pytest.raises(PiimageError, match=r"bad\.yml: ") as caught:
        load_board("bad", [tmp_path])
    assert caught.value.code == "boards.unreadable"
    assert {board.name for board in known_boards([tmp_path])} == {*board_names()}


@pytest.mark.provokes("boards.invalid")
@pytest.mark.parametrize(("_fault", "change", "message"), BAD, ids=[bad[0] for bad in BAD])
def test_an_invalid_board_is_refused(_fault: str, change: dict[str, Any], message: str) -> None:
    data = copy.deepcopy(data_of("pi4"))
    for path, value in change.items():
        *keys, last = path.split(".")
        mapping = data
        for key in keys:
            mapping = mapping[key]
        mapping[last] = value
    with pytest.raises(PiimageError, match=message) as caught:
        parse_board("pi4", data, origin="pi4.yml")
    assert caught.value.code == "boards.invalid"
    assert caught.value.exit_code == 2


def test_all_faults_of_a_board_are_reported_at_once() -> None:
    data = data_of("pi4") | {"watchdog": "a/b", "console": "tty 0", "title": ""}
    with pytest.raises(PiimageError) as caught:
        parse_board("pi4", data, origin="pi4.yml")
    assert [word in str(caught.value) for word in ("watchdog", "console", "title")] == [True] * 3


@pytest.mark.slow
@settings(max_examples=examples(60), deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
        max_leaves=12,
    ),
    st.sampled_from(sorted(data_of("pi4"))),
)
def test_any_yaml_is_a_board_or_an_error(value: object, key: str) -> None:
    for data in (value, data_of("pi4") | {key: value}):
        try:
            parse_board("x", data, origin="x.yml")
        except PiimageError as error:
            assert error.code == "boards.invalid"


def written(folder: Path, name: str, data: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.yml"
    path.write_text(dumped(data))
    return path


def test_boards_are_searched_beside_the_files_then_in_the_folders_of_the_variable(
    tmp_path: Path,
) -> None:
    files = [tmp_path / "a/one.yml", tmp_path / "b/two.yml"]
    listed = f"{tmp_path / 'x'}:{tmp_path / 'y'}::"
    assert search_path(files, {"PIIMAGE_BOARDS": listed}) == (
        tmp_path / "b/boards", tmp_path / "a/boards", tmp_path / "x", tmp_path / "y",
    )  # fmt: skip
    assert search_path([], {}) == ()
    for place in ("b/boards", "x"):
        written(tmp_path / place, "shed", data_of("pi4") | {"title": place})
    search = search_path(files, {"PIIMAGE_BOARDS": listed})
    assert load_board("shed", search).title == "b/boards"
    assert load_board("shed", search[1:]).title == "x"


def test_overlays_beside_a_board_come_before_the_shipped_overlays(tmp_path: Path) -> None:
    data = data_of("pi4")
    data["overlays"] = {"folders": ["bcm283x", "bcm2711", "mine"], "always": ["led"]}
    written(tmp_path, "shed", data)
    own = tmp_path / "overlays/mine/led.dtso"
    changed = tmp_path / "overlays/bcm2711/i2c1.dtso"
    for path in (own, changed):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("/dts-v1/;\n/plugin/;\n")
    shipped = overlay_sources(load_board("pi4"))
    sources = overlay_sources(load_board("shed", [tmp_path / "absent", tmp_path]))
    assert sources["led"] == own
    assert sources["i2c1"] == changed
    assert sources["disable-bt"] == shipped["disable-bt"]
    assert list(sources) == sorted(sources)


def test_an_overlay_for_the_emulator_may_be_beside_a_board(tmp_path: Path) -> None:
    data = data_of("pi4")
    data["emulator"]["fit"] = ["raspi4b", "mine"]
    written(tmp_path, "shed", data)
    own = tmp_path / "emulator/mine.dtso"
    own.parent.mkdir()
    own.write_text("/dts-v1/;\n")
    board = load_board("shed", [tmp_path])
    assert fitting_source(board, "mine") == own
    assert fitting_source(board, "raspi4b") == resources.path("boards") / "emulator/raspi4b.dtso"


@pytest.mark.provokes("boards.invalid")
def test_each_fault_of_a_boards_file_has_its_line_and_column(tmp_path: Path) -> None:
    path = written(tmp_path, "shed", data_of("qemu-virt"))
    text = path.read_text().replace("machine: virt\n", "machine: a b\n")
    text = text.replace("slot_mib: 512", "slot_mib: 0") + "colour: red\n"
    path.write_text(text)
    lines = text.splitlines()
    with pytest.raises(PiimageError) as caught:
        load_board("shed", [tmp_path])
    message = str(caught.value)
    for key in ("  machine: a b", "  slot_mib: 0", "colour: red"):
        column = len(key) - len(key.lstrip()) + 1
        assert f"{path}:{lines.index(key) + 1}:{column}: " in message, key


@pytest.mark.provokes("boards.invalid")
def test_a_contradiction_in_a_boards_file_has_its_line_and_column(tmp_path: Path) -> None:
    path = written(tmp_path, "shed", data_of("pi4") | {"console": "ttyS0"})
    line = path.read_text().splitlines().index("console: ttyS0") + 1
    with pytest.raises(PiimageError, match=rf"shed\.yml:{line}:1: .*last console="):
        load_board("shed", [tmp_path])


@pytest.mark.provokes("boards.unreadable")
def test_a_yaml_error_is_reported_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "shed.yml").write_text("title: x\nmodels: [\n")
    with pytest.raises(PiimageError, match=r"shed\.yml:3:1: ") as caught:
        load_board("shed", [tmp_path])
    assert caught.value.code == "boards.unreadable"


@pytest.mark.parametrize("key", ["name", "folders"])
def test_name_and_folders_are_not_keys_of_the_file(key: str) -> None:
    with pytest.raises(PiimageError, match=key) as caught:
        parse_board("shed", data_of("pi4") | {key: "x"}, origin="shed.yml")
    assert caught.value.code == "boards.invalid"
