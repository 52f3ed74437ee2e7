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
from piimage.firmware.writer import Boot
from piimage.run import Runner
from tests.unit.firmware.efi_disks import disk, program

BOARDS = Path(__file__).parents[2] / "system/boot/appliances/boards"


def board(tree: str | None = None) -> Board:
    found = load_board("virt-uboot", [BOARDS])
    model = found.models[0].model_copy(update={"tree": tree})
    return found.model_copy(update={"models": (model,)})


def files(of: Board) -> dict[str, bytes]:
    texts = boot_loader_of(of).shared_files(of, Boot(cmdline=("quiet2",)), 0x0BADCAFE)
    return {
        **{name: text.encode() for name, text in texts.items()},
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
    assert list(texts) == ["cmdline.txt"]
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


@pytest.mark.provokes("firmware.no-try")
def test_there_is_no_second_slot_to_try(tmp_path: Path) -> None:
    card = disk(tmp_path / "card.img", files(board()), "mbr")
    with pytest.raises(PiimageError, match="no second slot to try") as caught:
        read_card(card, board(), Runner(), tryboot=True)
    assert caught.value.code == "firmware.no-try"
