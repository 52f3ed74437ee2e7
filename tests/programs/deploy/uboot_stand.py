"""A stand-in for a board with U-Boot, whose slots are folders that entries name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from piimage.board import Board
from piimage.boards import load_board
from piimage.firmware.writer import Boot
from tests.programs.deploy.efi_stand import EfiStand

BOARDS = Path(__file__).parents[2] / "system/boot/appliances/boards"


@dataclass
class UBootStand(EfiStand):
    """One board whose folder a/ has a version, and the tool's wish of another one."""

    board: ClassVar[Board] = load_board("virt-uboot", [BOARDS])
    firmware: ClassVar[dict[str, bytes]] = {}
    files: ClassVar[tuple[str, str]] = ("u-boot/current.env", "u-boot/try.env")
    chooses: ClassVar[str] = r"piimage_kernel=/(..)kernel"
    kind: ClassVar[str] = "sector"
    boot: ClassVar[Boot] = Boot(cmdline=("quiet",), tries=True)
