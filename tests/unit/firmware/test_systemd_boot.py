"""What UEFI and systemd-boot start from a disk, and the disks from which they start nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from piimage.boards import load_board
from piimage.errors import ErrorGroup, InputError, PiimageError
from piimage.firmware.boot_loaders import boot_loader_of
from piimage.firmware.card import open_card
from piimage.firmware.reader import read_card, require_bootable
from piimage.firmware.systemd_boot import PROGRAM
from piimage.firmware.writer import Boot
from piimage.run import Runner
from tests.unit.firmware.efi_disks import disk, files, program

BOARD = load_board("arm64-uefi")
ENTRY = "loader/entries/current.conf"
TRY = "loader/entries/try.conf"


def test_the_default_entry_gives_kernel_initramfs_and_command_line(tmp_path: Path) -> None:
    content = files(Boot(cmdline=("slab_nomerge",)))
    image = disk(tmp_path / "disk.img", content)
    require_bootable(image, BOARD, Runner())
    found = read_card(image, BOARD, Runner())
    assert (found.partition, found.prefix, found.tryboot) == (1, "a/", False)
    assert (found.kernel_path, found.kernel) == ("a/kernel.img", program())
    assert found.initramfs == b"initramfs A"
    assert found.device_tree is None
    words = found.cmdline.split()
    assert words[:2] == ["console=ttyS0,115200", "console=ttyAMA0,115200"]
    assert words[-3:] == ["piimage.disk-id=0badcafe", "piimage.prefix=a/", "slab_nomerge"]


def test_a_disk_that_is_silent_has_a_silent_command_line(tmp_path: Path) -> None:
    image = disk(tmp_path / "disk.img", files(Boot(silent=True)))
    words = read_card(image, BOARD, Runner()).cmdline.split()
    assert [word for word in words if word.startswith("console=")] == ["console=tty62"]


def test_a_person_at_the_console_cannot_change_the_command_line() -> None:
    text = boot_loader_of(BOARD).shared_files(BOARD, Boot(), 1)["loader/loader.conf"]
    assert "editor no\n" in text
    assert "timeout 0\n" in text


def test_a_slot_has_its_command_line_and_the_entries_that_select_it() -> None:
    texts = boot_loader_of(BOARD).slot_files(BOARD, Boot(), 1, "b/")
    shared = boot_loader_of(BOARD).shared_files(BOARD, Boot(), 1)
    assert list(texts) == ["cmdline.txt", "select.txt", "try.txt"]
    assert f"options {texts['cmdline.txt']}" in texts["select.txt"]
    assert texts["select.txt"] == shared[ENTRY].replace("a/", "b/")
    assert texts["try.txt"] == shared[TRY]
    assert texts["try.txt"].rstrip() == f"{texts['select.txt'].rstrip()} piimage.try=1"


def test_an_entry_is_one_sector_which_an_update_changes_in_place() -> None:
    texts = boot_loader_of(BOARD).shared_files(BOARD, Boot(cmdline=("a" * 90,)), 1)
    assert {len(texts[ENTRY]), len(texts[TRY])} == {512}


@pytest.mark.provokes("firmware.bad-cmdline")
def test_a_command_line_for_which_the_sector_is_too_short_is_refused() -> None:
    words = ("a" * 200, "b" * 150)
    with pytest.raises(InputError, match=r"entry has \d+ bytes; the limit is 512") as caught:
        boot_loader_of(BOARD).shared_files(BOARD, Boot(cmdline=words), 1)
    assert caught.value.code == "firmware.bad-cmdline"


def test_a_try_boots_the_entry_of_the_other_slot(tmp_path: Path) -> None:
    other = {"b/kernel.img": program(), "b/initramfs.img": b"initramfs B"}
    image = disk(tmp_path / "disk.img", {**files(), **other})
    found = read_card(image, BOARD, Runner(), tryboot=True)
    assert (found.prefix, found.tryboot, found.initramfs) == ("b/", True, b"initramfs B")
    assert found.cmdline.split()[-2:] == ["piimage.prefix=b/", "piimage.try=1"]
    assert read_card(image, BOARD, Runner()).prefix == "a/"


@pytest.mark.parametrize("content", [{}, {TRY: b"title x\n"}])
def test_a_try_of_a_slot_without_a_kernel_is_an_ordinary_start(
    tmp_path: Path, content: dict[str, bytes]
) -> None:
    """systemd-boot lists no entry whose kernel is missing."""
    image = disk(tmp_path / "disk.img", {**files(), **content})
    found = read_card(image, BOARD, Runner(), tryboot=True)
    assert (found.prefix, found.tryboot) == ("a/", False)


@pytest.mark.provokes("firmware.no-boot-partition")
def test_a_disk_without_an_efi_system_partition_is_refused(tmp_path: Path) -> None:
    image = disk(tmp_path / "disk.img", files(), "mbr")
    with image.open("r+b") as file:
        file.seek(450)  # the type of the first entry
        file.write(b"\x83")
    with pytest.raises(PiimageError, match="no partition that a boot loader can read") as caught:
        require_bootable(image, BOARD, Runner())
    assert caught.value.code == "firmware.no-boot-partition"


@pytest.mark.parametrize(
    "content", [b"", b"a text", program(machine=0x8664), program()[:0x3E], b"MZ" + bytes(99)]
)
@pytest.mark.provokes("firmware.no-boot-loader")
def test_what_is_no_program_for_arm64_is_not_started(tmp_path: Path, content: bytes) -> None:
    image = disk(tmp_path / "disk.img", {**files(), PROGRAM: content})
    with pytest.raises(PiimageError, match="no program for arm64") as caught:
        read_card(image, BOARD, Runner())
    assert caught.value.code == "firmware.no-boot-loader"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a/kernel.img", "kernel"),
        ("a/initramfs.img", "initramfs"),
        (ENTRY, "entry"),
        ("loader/loader.conf", "configuration"),
    ],
)
@pytest.mark.provokes("firmware.missing-file")
def test_a_missing_file_is_named(tmp_path: Path, name: str, kind: str) -> None:
    content = files()
    del content[name]
    image = disk(tmp_path / "disk.img", content)
    with pytest.raises(PiimageError, match=f"the {kind} {name} is missing") as caught:
        require_bootable(image, BOARD, Runner(), origin="the disk")
    assert caught.value.code == "firmware.missing-file"
    assert caught.value.place == "the disk: partition 1"


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        (ENTRY, b"title x\nlinux /a/kernel.img\n", "has no initrd and no options"),
        ("loader/loader.conf", b"# default x\ntimeout 0\n", "names no entry"),
        ("loader/loader.conf", b"default ../x\n", "names no entry"),
        ("loader/loader.conf", b"default *\n", "names no entry"),
    ],
)
@pytest.mark.provokes("firmware.bad-entry")
def test_an_entry_that_starts_nothing_is_refused(
    tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    image = disk(tmp_path / "disk.img", {**files(), name: content})
    with pytest.raises(PiimageError, match=reason) as caught:
        read_card(image, BOARD, Runner())
    assert caught.value.code == "firmware.bad-entry"


@pytest.mark.parametrize("content", [b"\x1f\x8b" + bytes(99), program(magic=b"ARM\0")])
@pytest.mark.provokes("firmware.bad-kernel")
def test_a_kernel_that_uefi_cannot_start_is_refused(tmp_path: Path, content: bytes) -> None:
    """Such as a compressed one, which a Pi's firmware and QEMU take."""
    image = disk(tmp_path / "disk.img", {**files(), "a/kernel.img": content})
    with pytest.raises(PiimageError, match="uncompressed arm64 kernel") as caught:
        read_card(image, BOARD, Runner())
    assert caught.value.code == "firmware.bad-kernel"


def test_a_board_has_its_own_boot_loader_and_a_pi_the_firmware() -> None:
    assert boot_loader_of(BOARD) is not boot_loader_of(load_board("pi4"))
    assert boot_loader_of(load_board("pi3")) is boot_loader_of(load_board("pi4"))


def test_errors_of_a_disk_are_not_repeated(tmp_path: Path) -> None:
    image = disk(tmp_path / "disk.img", {})
    with open_card(image) as card:
        found = list(boot_loader_of(BOARD).refusals(card, BOARD, Runner()))
    assert len(found) == 1
    assert not isinstance(found[0], ErrorGroup)
