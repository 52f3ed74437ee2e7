"""What boards differ in before the kernel: the text files that tell the boot loader what to start.

A new kind of boot loader is a module with one class, and a line in `BOOT_LOADERS`.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from typing import Final, Protocol

from piimage.board import Board
from piimage.errors import PiimageError
from piimage.firmware import pi, writer
from piimage.firmware.bootfiles import BootFiles
from piimage.firmware.card import Card
from piimage.firmware.extlinux import Extlinux
from piimage.firmware.systemd_boot import SystemdBoot
from piimage.firmware.try_flag import TryFlag
from piimage.firmware.writer import Boot
from piimage.run import Runner


class BootLoader(Protocol):
    """A boot loader: the text files for it, how it reads a card, and how it is told to try."""

    @property
    def try_flag(self) -> TryFlag:
        """How it is told to try the other slot once."""
        ...

    def shared_files(self, board: Board, boot: Boot, disk_id: int) -> Mapping[str, str]:
        """Return the text files of a new card that are in no slot; they select slot A."""
        ...

    def scripts(self, board: Board, boot: Boot) -> Mapping[str, bytes]:
        """Return the files of a new card that are in no slot, and no text."""
        ...

    def slot_files(self, board: Board, boot: Boot, disk_id: int, prefix: str) -> Mapping[str, str]:
        """Return the text files of a slot, whose folder on the card is `prefix` if it has one."""
        ...

    def read(
        self,
        card: Card,
        board: Board,
        runner: Runner,
        *,
        tryboot: bool,
        eeprom: datetime.date | None,
    ) -> BootFiles:
        """Return what the first model of `board` boots from `card`."""
        ...

    def refusals(self, card: Card, board: Board, runner: Runner) -> Iterable[PiimageError]:
        """Yield the reasons why a model of `board` would not boot from `card`."""
        ...


class Pi:
    """The firmware of a Raspberry Pi: config.txt, cmdline.txt, and what selects a slot."""

    try_flag: Final = TryFlag("tryboot", "tryboot", built=True)

    def shared_files(self, board: Board, boot: Boot, disk_id: int) -> Mapping[str, str]:
        """Return autoboot.txt, or config.txt and tryboot.txt beside the folders."""
        return writer.root_files(board, boot)

    def scripts(self, board: Board, boot: Boot) -> Mapping[str, bytes]:
        """Return none."""
        return {}

    def slot_files(self, board: Board, boot: Boot, disk_id: int, prefix: str) -> Mapping[str, str]:
        """Return the files of a slot; raises the errors of `writer.config` and `writer.cmdline`."""
        files = {
            "config.txt": writer.config(board, boot),
            "cmdline.txt": writer.cmdline(board, boot, disk_id, prefix=prefix),
            # The firmware uses the overlays of a prefix only if this file exists there.
            "overlays/README": writer.README,
        }
        if prefix:
            files |= writer.folder_files(board, boot, disk_id, prefix)
        return files

    def read(
        self,
        card: Card,
        board: Board,
        runner: Runner,
        *,
        tryboot: bool,
        eeprom: datetime.date | None,
    ) -> BootFiles:
        """Return what the firmware loads; see `pi.read`."""
        return pi.read(card, board, runner, tryboot=tryboot, eeprom=eeprom)

    def refusals(self, card: Card, board: Board, runner: Runner) -> Iterable[PiimageError]:
        """Yield what the firmware of a model refuses; see `pi.refusals`."""
        return pi.refusals(card, board, runner)


BOOT_LOADERS: Final[Mapping[str, BootLoader]] = {"uefi": SystemdBoot(), "u-boot": Extlinux()}
"""The boot loaders that are not a Pi's, by `firmware: chain:` of boards."""
_PI: Final = Pi()


def boot_loader_of(board: Board) -> BootLoader:
    """Return the boot loader of `board`."""
    return BOOT_LOADERS.get(board.firmware.chain, _PI)
