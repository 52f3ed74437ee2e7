"""Small disks with an EFI system partition, for tests."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

from piimage.boards import load_board
from piimage.card.fat import FatVolume
from piimage.card.image import CardPlan, write_card
from piimage.firmware.boot_loaders import boot_loader_of
from piimage.firmware.systemd_boot import PROGRAM
from piimage.firmware.writer import Boot
from piimage.run import Runner


def program(machine: int = 0xAA64, magic: bytes = b"ARM\x64") -> bytes:
    """Return the headers of a program in PE form, which are an arm64 kernel's as well."""
    head = b"MZ".ljust(0x38, b"\0") + magic + struct.pack("<I", 0x40)
    return head + b"PE\0\0" + struct.pack("<H", machine) + bytes(64)


def files(boot: Boot = Boot()) -> dict[str, bytes]:  # noqa: B008  # it cannot be changed
    """Return the files of a disk that boots slot A."""
    board = load_board("arm64-uefi")
    texts = boot_loader_of(board).shared_files(board, boot, 0x0BADCAFE)
    return {
        **{name: text.encode() for name, text in texts.items()},
        PROGRAM: program(magic=bytes(4)),
        "a/kernel.img": program(),
        "a/initramfs.img": b"initramfs A",
    }


def disk(target: Path, content: Mapping[str, bytes], table: str = "gpt") -> Path:
    """Write a disk with an EFI system partition of `content`."""
    volume = FatVolume("the boot partition", "PIIMAGE", 1, 40 << 20, dict(content))
    write_card(Runner(), CardPlan("test", 0x0BADCAFE, (volume,), table), target)
    return target
