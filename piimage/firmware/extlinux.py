"""U-Boot's form of a boot menu: extlinux/extlinux.conf on the first partition.

U-Boot itself is in no file of the partition: the boot ROM reads it from a fixed place on the card
(`firmware: raw:` of the board), or it is in a flash chip. Source: U-Boot's documentation, "Generic
Distro Configuration Concept" and "Extlinux Bootmeth".
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Final

from piimage.board import Board
from piimage.firmware.bootfiles import BootFiles
from piimage.firmware.card import Card
from piimage.firmware.entries import BootPartition, LoaderWithEntries, values_of
from piimage.firmware.writer import INITRAMFS, KERNEL, Boot, cmdline
from piimage.run import Runner

MENU: Final = "extlinux/extlinux.conf"
_LABEL: Final = "current"
_KEYS: Final = ("kernel", "initrd", "append", "fdt")


class Extlinux(LoaderWithEntries):
    """U-Boot with one entry."""

    def shared_files(self, board: Board, boot: Boot, disk_id: int) -> Mapping[str, str]:
        """Return the menu, whose only entry starts slot A.

        Raises the errors of `writer.cmdline`.
        """
        prefix = str(board.layout.slots[0])
        options = cmdline(board, boot, disk_id, prefix=prefix).strip()
        lines = [f"default {_LABEL}", f"label {_LABEL}", f"kernel /{prefix}{KERNEL}"]
        lines += [f"initrd /{prefix}{INITRAMFS}"]
        # Without a tree of the card, U-Boot passes on the one that it was started with.
        lines += [f"fdt /{prefix}{name}" for name in board.trees[:1]]
        return {MENU: "\n".join([*lines, f"append {options}"]) + "\n"}

    def read(
        self, card: Card, board: Board, runner: Runner, *, tryboot: bool,
        eeprom: datetime.date | None,
    ) -> BootFiles:  # fmt: skip
        """Return what the entry starts; raises the errors of `BootPartition`."""
        partition = BootPartition(card, tryboot=tryboot)
        entry = values_of(partition.needed(MENU, "menu"))
        if not entry.get("default") or entry.get("default") != entry.get("label"):
            raise partition.refused(
                "firmware.bad-entry", f"{MENU} has no entry that is its default"
            )
        return partition.started(entry, _KEYS)
