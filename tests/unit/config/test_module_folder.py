from __future__ import annotations

import re
from pathlib import Path

import pytest

from piimage import resources
from piimage.boards import load_board
from piimage.config.load import load, load_all, load_module
from piimage.config.module import KernelModule
from piimage.config.module_folder import module_folder, module_folders
from piimage.errors import InputError, PiimageError


def write(folder: Path, text: str, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "module.yml").write_text(text)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content)
    return folder


def test_the_folders_that_piimage_ships_are_read() -> None:
    shipped = resources.path("kernel-modules")
    names = {path.name: module_folder(path).module.name for path in sorted(shipped.glob("*/"))}
    assert names["hello"] == "hello"
    assert all(folder == name for folder, name in names.items())


def test_what_a_build_left_is_no_source(tmp_path: Path) -> None:
    left = {"a__o": "", "a__ko": "", "Module__symvers": "", "__a__o__cmd": "", "a__mod__c": ""}
    folder = write(tmp_path / "a", "name: a\nlicense: MIT\n", Kbuild="", a__c="", **left)
    assert list(module_folder(folder).sources()) == ["Kbuild", "a.c"]


@pytest.mark.provokes("modules.no-kbuild")
def test_a_folder_without_kbuild_is_told_the_line(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", "name: a\nlicense: MIT\n", a__c="")
    with pytest.raises(InputError, match=r"obj-m := a\.o"):
        module_folder(folder).sources()


@pytest.mark.provokes("modules.no-prebuilt")
def test_a_prebuilt_module_that_is_not_there_is_named(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", "name: a\nlicense: Proprietary\nprebuilt: a.ko\n")
    with pytest.raises(InputError, match=r"there is no file a\.ko"):
        module_folder(folder).prebuilt()
    (folder / "a.ko").write_bytes(b"x")
    assert module_folder(folder).prebuilt() == b"x"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("license: MIT\n", "name"),
        ("name: a\n", "license"),
        ("name: a b\nlicense: MIT\n", "kernel module"),
        ("name: a\nlicense: MIT\nsource: [../x.c]\n", "path in the kernel source"),
        ("name: a\nlicense: MIT\nsource: [x.c]\nprebuilt: a.ko\n", "prebuilt together with source"),
        ("name: a\nlicense: MIT\nsauce: [x.c]\n", "sauce"),
    ],
)
def test_what_module_yml_cannot_say(tmp_path: Path, text: str, message: str) -> None:
    folder = write(tmp_path / "a", text)
    with pytest.raises(PiimageError) as caught:
        load_module(folder)
    assert message in str(caught.value)
    assert str(caught.value.place or caught.value).startswith(str(folder / "module.yml"))


def test_the_module_of_the_guide_is_valid(tmp_path: Path) -> None:
    page = (resources.path("kernel-modules").parent / "docs" / "modules.md").read_text()
    described, appliance = re.findall(r"```yaml\n(.*?)```", page, re.S)
    folder = write(tmp_path / "greet", described, Kbuild="obj-m := greet.o\n")
    (tmp_path / "greenhouse.yml").write_text(appliance)
    loaded = load_all([tmp_path / "greenhouse.yml"])
    assert [(module.name, module.build) for module in loaded.modules] == [
        ("i2c-dev", None), (None, str(folder))
    ]  # fmt: skip
    assert module_folder(folder).module.parameters == {"whom": "Name to greet."}
    keys = re.findall(r"^\| `(\w+)` \|", page, re.M)
    assert keys == list(KernelModule.model_fields)


def test_a_module_folder_is_checked_with_the_file_that_names_it(tmp_path: Path) -> None:
    write(tmp_path / "a", "name: a\n")
    (tmp_path / "x.yml").write_text("modules: [{build: a}]\n")
    with pytest.raises(PiimageError, match="license"):
        load_all([tmp_path / "x.yml"])


@pytest.mark.parametrize(
    ("board", "text", "names"),
    [
        ("pi4", "slots: { updates: true }", ["tryboot"]),
        ("pi3", "slots: { updates: true }\nmodules: [i2c-dev]", ["tryboot"]),
        ("pi4", "slots: { updates: false }", []),
        ("pi4", "slots: { size: 600M }", []),
        ("arm64-uefi", "slots: { updates: true }", []),
    ],
)
def test_updates_of_a_pis_system_bring_the_module_for_the_boot_loaders_flag(
    tmp_path: Path, board: str, text: str, names: list[str]
) -> None:
    file = tmp_path / "shed.yml"
    file.write_text(f"board: {board}\n{text}\n")
    folders = module_folders(load([file]), load_board(board))
    assert [folder.module.name for folder in folders] == names
