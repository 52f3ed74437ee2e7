"""What U-Boot starts by extlinux.conf, and the cards from which it starts nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from piimage.board import Board
from piimage.boards import load_board
from piimage.errors import PiimageError
from piimage.firmware.boot_loaders import boot_loader_of
from piimage.firmware.extlinux import MENU
from piimage.firmware.reader import read_card, require_bootable
from piimage.firmware.uboot_script import MARK, SECTOR
from piimage.firmware.writer import Boot
from piimage.run import Runner
from tests.unit.firmware.efi_disks import disk, program

BOARDS = Path(__file__).parents[2] / "system/boot/appliances/boards"


def board(tree: str | None = None) -> Board:
    found = load_board("virt-uboot", [BOARDS])
    model = found.models[0].model_copy(update={"tree": tree})
    return found.model_copy(update={"models": (model,)})


def files(of: Board, *, tries: bool = False) -> dict[str, bytes]:
    boot, loader = Boot(cmdline=("quiet2",), tries=tries), boot_loader_of(of)
    texts = loader.shared_files(of, boot, 0x0BADCAFE)
    return {
        **{name: text.encode() for name, text in texts.items()},
        **loader.scripts(of, boot),
        "a/kernel.img": program(),
        "a/initramfs.img": b"initramfs A",
    }


def test_the_entry_gives_kernel_initramfs_and_command_line(tmp_path: Path) -> None:
    card = disk(tmp_path / "card.img", files(board()), "mbr")
    require_bootable(card, board(), Runner())
    found = read_card(card, board(), Runner())
    assert (found.partition, found.prefix, found.kernel_path) == (1, "a/", "a/kernel.img")
    assert (found.kernel, found.initramfs) == (program(), b"initramfs A")
    assert found.device_tree is None
    assert found.cmdline.split()[-3:] == ["piimage.disk-id=0badcafe", "piimage.prefix=a/", "quiet2"]


def test_a_board_whose_card_has_the_device_tree_names_it(tmp_path: Path) -> None:
    own = board("allwinner/sun50i-a64-pine64-plus.dtb")
    content = files(own)
    assert "fdt /a/sun50i-a64-pine64-plus.dtb\n" in content[MENU].decode()
    with pytest.raises(PiimageError, match=r"the device tree a/sun50i-.* is missing"):
        require_bootable(disk(tmp_path / "a.img", content, "mbr"), own, Runner())
    content["a/sun50i-a64-pine64-plus.dtb"] = b"tree"
    assert read_card(disk(tmp_path / "b.img", content, "mbr"), own, Runner()).device_tree == b"tree"


def test_a_slot_has_its_command_line_too() -> None:
    texts = boot_loader_of(board()).slot_files(board(), Boot(), 1, "a/")
    assert list(texts) == ["cmdline.txt", "select.txt", "try.txt"]
    assert "piimage.prefix=a/" in texts["cmdline.txt"]


@pytest.mark.provokes("firmware.bad-entry")
@pytest.mark.parametrize(
    ("menu", "reason"),
    [
        (b"label current\nkernel /a/kernel.img\n", "has no entry that is its default"),
        (b"default other\nlabel current\n", "has no entry that is its default"),
        (b"DEFAULT current\nLABEL current\nKERNEL /a/kernel.img\n", "no initrd and no append"),
    ],
)
def test_a_menu_that_starts_nothing_is_refused(tmp_path: Path, menu: bytes, reason: str) -> None:
    card = disk(tmp_path / "card.img", {**files(board()), MENU: menu}, "mbr")
    with pytest.raises(PiimageError, match=reason) as caught:
        read_card(card, board(), Runner())
    assert caught.value.code == "firmware.bad-entry"


@pytest.mark.provokes("firmware.missing-file")
def test_a_card_without_a_menu_is_refused(tmp_path: Path) -> None:
    content = files(board())
    del content[MENU]
    with pytest.raises(PiimageError, match=f"the menu {MENU} is missing"):
        require_bootable(disk(tmp_path / "card.img", content, "mbr"), board(), Runner())


def marked(card: Path) -> Path:
    """Leave the mark of a try, as the system does."""
    with card.open("r+b") as file:
        file.seek((1 << 20) + SECTOR * 512)
        assert file.read(512) == bytes(512)
        file.seek(-512, 1)
        file.write(MARK)
    return card


def with_both(of: Board) -> dict[str, bytes]:
    other = {"b/kernel.img": program(), "b/initramfs.img": b"initramfs B"}
    return {**files(of, tries=True), **other}


def test_a_card_whose_system_can_be_updated_has_two_entries_and_a_script(tmp_path: Path) -> None:
    content = with_both(board())
    entries = ["u-boot/current.env", "u-boot/try.env"]
    assert [name for name in content if not name.startswith(("a/", "b/"))] == [*entries, "boot.scr"]
    assert {len(content[name]) for name in entries} == {512}
    card = disk(tmp_path / "card.img", content, "mbr")
    require_bootable(card, board(), Runner())
    found = read_card(card, board(), Runner())
    assert (found.prefix, found.tryboot) == ("a/", False)


def test_the_mark_in_the_sector_leads_to_the_other_slot(tmp_path: Path) -> None:
    card = marked(disk(tmp_path / "card.img", with_both(board()), "mbr"))
    found = read_card(card, board(), Runner())
    assert (found.prefix, found.tryboot, found.initramfs) == ("b/", True, b"initramfs B")
    assert found.cmdline.split()[-2:] == ["quiet2", "piimage.try=1"]


def test_a_slot_without_a_kernel_is_not_tried(tmp_path: Path) -> None:
    card = marked(disk(tmp_path / "card.img", files(board(), tries=True), "mbr"))
    found = read_card(card, board(), Runner())
    assert (found.prefix, found.tryboot) == ("a/", False)


def test_a_card_without_a_script_tries_nothing(tmp_path: Path) -> None:
    card = marked(disk(tmp_path / "card.img", files(board()), "mbr"))
    assert read_card(card, board(), Runner(), tryboot=True).prefix == "a/"


def test_a_menu_that_u_boot_finds_before_the_script_is_the_one_that_counts(tmp_path: Path) -> None:
    content = {**with_both(board()), MENU: files(board())[MENU].replace(b"/a/", b"/b/")}
    card = marked(disk(tmp_path / "card.img", content, "mbr"))
    found = read_card(card, board(), Runner())
    assert (found.prefix, found.tryboot) == ("b/", False)


def test_a_board_whose_card_has_the_device_tree_names_it_in_the_entries(tmp_path: Path) -> None:
    own = board("allwinner/sun50i-a64-pine64-plus.dtb")
    content = {**files(own, tries=True), "a/sun50i-a64-pine64-plus.dtb": b"tree"}
    card = disk(tmp_path / "card.img", content, "mbr")
    assert read_card(card, own, Runner()).device_tree == b"tree"


def test_a_word_with_a_backslash_stays_what_it_is(tmp_path: Path) -> None:
    loader, boot = boot_loader_of(board()), Boot(cmdline=("a=\\b",), tries=True)
    texts = loader.shared_files(board(), boot, 1)
    assert "a=\\\\b" in texts["u-boot/current.env"]
    content = {**with_both(board()), "u-boot/current.env": texts["u-boot/current.env"].encode()}
    found = read_card(disk(tmp_path / "card.img", content, "mbr"), board(), Runner())
    assert found.cmdline.split()[-1] == "a=\\b"


@pytest.mark.provokes("firmware.bad-entry")
def test_an_entry_that_starts_nothing_is_refused(tmp_path: Path) -> None:
    content = {**with_both(board()), "u-boot/current.env": b"piimage_kernel=/a/kernel.img\n"}
    with pytest.raises(PiimageError, match="no piimage_initrd and no bootargs") as caught:
        require_bootable(disk(tmp_path / "card.img", content, "mbr"), board(), Runner())
    assert caught.value.code == "firmware.bad-entry"
