"""A stand-in for a machine with UEFI, whose slots are folders that entries of systemd-boot name.

The script that stands for its restart reads current.conf, or try.conf if it is a try.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from piimage.board import Board
from piimage.boards import load_board
from piimage.firmware.boot_loaders import boot_loader_of
from piimage.firmware.writer import Boot
from tests.programs.deploy.folders_stand import FoldersStand

CURRENT, TRIED = "loader/entries/current.conf", "loader/entries/try.conf"
TRY_FLAG = """
import pathlib, sys
root, verb = pathlib.Path(__file__).parents[3], sys.argv[1]
(root / "asked").open("a").write(verb + "\\n")
refusal = root / ("refuses-" + verb)
if refusal.exists():
    print(refusal.read_text())
    sys.exit(1)
"""


@dataclass
class EfiStand(FoldersStand):
    """One machine whose folder a/ has a version, and the tool's wish of another one."""

    board: ClassVar[Board] = load_board("arm64-uefi")
    firmware: ClassVar[dict[str, bytes]] = {"EFI/BOOT/BOOTAA64.EFI": b"MZ systemd-boot"}
    files: ClassVar[tuple[str, str]] = (CURRENT, TRIED)
    chooses: ClassVar[str] = r"title piimage\nlinux /(..)kernel"
    kind: ClassVar[str] = "efi"
    boot: ClassVar[Boot] = Boot(cmdline=("quiet",))

    def __post_init__(self) -> None:
        super().__post_init__()
        self.pi.write("run/piimage/boot", f"{self.pi.text('run/piimage/boot')}TRY='{self.kind}'\n")
        self.pi._program("usr/lib/piimage/try-flag", TRY_FLAG)

    @classmethod
    def selecting(cls, prefix: str, word: str = "quiet") -> dict[str, Path | bytes]:
        """The files of a folder that an update needs to select it."""
        boot = replace(cls.boot, cmdline=(word,))
        texts = boot_loader_of(cls.board).slot_files(cls.board, boot, 7, prefix)
        return {name: text.encode() for name, text in texts.items()}

    @property
    def requests(self) -> list[str]:
        """What the agent asked about the boot loader."""
        path = self.pi.root / "asked"
        return path.read_text().split() if path.exists() else []
