from __future__ import annotations

import pytest

from piimage.boards import load_board
from piimage.errors import ErrorGroup, InputError
from piimage.formats.chosen import FORMATS, parse
from piimage.formats.disks import DISKS


def test_several_formats_are_separated_by_commas() -> None:
    chosen = parse("tar, card,tar")
    assert chosen.names == ("tar", "card")
    assert chosen.card


def test_a_card_is_a_raw_disk_and_other_disks_are_made_from_it() -> None:
    assert parse("raw").names == ("card",)
    assert parse("raw,card").card
    chosen = parse("vhd,qcow2,tar")
    assert chosen.disks == ("vhd", "qcow2")
    assert not chosen.card


def test_linuxkits_names_of_disks_for_uefi_are_those_of_a_board_with_uefi() -> None:
    chosen = parse("raw-efi,qcow2-efi,qcow2")
    assert chosen.names == ("card", "qcow2")
    chosen.require_board(load_board("arm64-uefi"))
    parse("raw,qcow2").require_board(load_board("pi4"))


def test_an_iso_is_a_format_of_its_own_beside_the_card() -> None:
    chosen = parse("iso-efi,raw-efi")
    assert (chosen.names, chosen.card) == (("iso-efi", "card"), True)
    assert not parse("iso-efi").card
    assert ["shed.iso runs from memory" in text for text in chosen.remarks("shed")] == [True]
    assert list(parse("card,kernel+initrd").remarks("shed")) == []
    chosen.require_board(load_board("arm64-uefi"))


@pytest.mark.provokes("formats.no-uefi")
@pytest.mark.parametrize(
    ("board", "name", "instead"),
    [
        ("pi4", "raw-efi", "card"),
        ("qemu-virt", "qcow2-efi", "qcow2"),
        ("pi5", "iso-efi", "card"),
    ],
)
def test_a_disk_or_cd_for_uefi_is_refused_for_other_boards(
    board: str, name: str, instead: str
) -> None:
    with pytest.raises(InputError, match=f"write {instead}, or take a board") as caught:
        parse(name).require_board(load_board(board))
    assert caught.value.code == "formats.no-uefi"


def test_a_build_without_the_card_writes_none() -> None:
    assert not parse("oci").card


def test_every_format_of_the_documentation_is_there() -> None:
    assert {*FORMATS, *DISKS, "card"} == {
        "card",
        "qcow2",
        "vhd",
        "iso-efi",
        "kernel+initrd",
        "tar-kernel-initrd",
        "tar",
        "oci",
    }


@pytest.mark.provokes("formats.unknown")
def test_an_unknown_format_is_named_with_what_was_meant() -> None:
    with pytest.raises(InputError, match="did you mean card") as caught:
        parse("cards")
    assert caught.value.exit_code == 2


@pytest.mark.provokes("formats.unknown")
def test_all_unknown_formats_are_named_at_once() -> None:
    with pytest.raises(ErrorGroup) as caught:
        parse("iso,vmdk")
    assert len(caught.value.errors) == 2


@pytest.mark.provokes("formats.unknown")
def test_no_format_at_all_is_refused() -> None:
    with pytest.raises(InputError):
        parse(" , ")
