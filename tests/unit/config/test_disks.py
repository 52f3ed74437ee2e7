"""The section `disks:`: what is refused, where, and with which advice."""

from __future__ import annotations

from pathlib import Path

import pytest

from piimage.config.load import load
from piimage.errors import ErrorGroup, InputError

MUSIC = "{ name: music, label: MUSIC }"


def text_of(*disks: str, binds: str = "") -> str:
    listed = "".join(f"  - {disk}\n" for disk in disks)
    entry = f"{{ name: player, packages: [mpd], binds: [{binds}] }}"
    return f"board: pi4\ndisks:\n{listed}services:\n  - {entry}\n"


def errors(folder: Path, text: str) -> list[InputError]:
    file = folder / "a.yml"
    file.write_text(text)
    with pytest.raises((ErrorGroup, InputError)) as caught:
        load([file])
    found = caught.value
    group = found.errors if isinstance(found, ErrorGroup) else (found,)
    return [error for error in group if isinstance(error, InputError)]


def test_a_disk_has_a_name_and_a_label_of_any_script(tmp_path: Path) -> None:
    file = tmp_path / "a.yml"
    file.write_text(
        text_of(MUSIC, "{ name: b, label: 2024, readonly: true }", "{ name: c, label: Ma clé }",
                binds="'/media/music:/music', '/media/b/:/b'")
    )  # fmt: skip
    found = load([file]).disks
    assert [(disk.name, disk.label, disk.readonly) for disk in found] == [
        ("music", "MUSIC", False), ("b", "2024", True), ("c", "Ma clé", False),
    ]  # fmt: skip


@pytest.mark.provokes("config.value")
@pytest.mark.parametrize(
    ("disk", "message", "hint"),
    [
        ("{ name: My music, label: A }", "'My music' is not a valid name of a disk", "lower case"),
        ("{ name: ../etc, label: A }", "'../etc' is not a valid name of a disk", "lower case"),
        ("{ name: music, label: '' }", "'' is not a label", "blanks"),
        ("{ name: music, label: ' A' }", "' A' is not a label", "blanks"),
        ('{ name: music, label: "A\\nB" }', "is not a label", "the text that the disk has"),
        (f"{{ name: music, label: {'A' * 34} }}", "is too long for a label", "as the disk has it"),
    ],
)
def test_a_name_or_a_label_that_cannot_be(
    disk: str, message: str, hint: str, tmp_path: Path
) -> None:
    (error,) = errors(tmp_path, text_of(disk))
    assert error.code == "config.value"
    assert message in error.message
    assert hint in str(error.hint)
    assert str(error.place).startswith(f"{tmp_path}/a.yml:3:")


@pytest.mark.provokes("config.shared-label", "config.duplicate-name")
def test_two_disks_of_one_name_or_one_label(tmp_path: Path) -> None:
    found = errors(tmp_path, text_of(MUSIC, "{ name: music, label: MUSIC }"))
    assert {error.code: error.message for error in found} == {
        "config.duplicate-name": "two disks are named 'music'",
        "config.shared-label": "two disks have the label 'MUSIC'",
    }
    assert all(f"the first is at {tmp_path}/a.yml:3:" in str(error.hint) for error in found)


@pytest.mark.provokes("config.no-disk")
@pytest.mark.parametrize(
    ("bind", "message", "hint"),
    [
        ("/media/musik:/m", "there is no disk 'musik'", "instead: /media/music, or add"),
        ("/media/music/new:/m", "'/media/music/new' exists only while the disk is plugged in",
         "bind the disk itself, /media/music"),
    ],
)  # fmt: skip
def test_a_bind_of_no_disk(bind: str, message: str, hint: str, tmp_path: Path) -> None:
    (error,) = errors(tmp_path, text_of(MUSIC, binds=f"'{bind}'"))
    assert (error.code, error.message) == ("config.no-disk", message)
    assert hint in str(error.hint)


def test_a_file_without_disks_may_bind_a_folder_of_the_same_name(tmp_path: Path) -> None:
    file = tmp_path / "a.yml"
    file.write_text("services: [{ name: a, packages: [mpd], binds: ['/media/x:/x'] }]\n")
    assert load([file]).disks == ()
