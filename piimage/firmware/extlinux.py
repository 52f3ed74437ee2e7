"""U-Boot's form of a boot menu: extlinux/extlinux.conf on the first partition.

U-Boot itself is in no file of the partition: the boot ROM reads it from a fixed place on the card
(`firmware: raw:` of the board), or it is in a flash chip. Source: U-Boot's documentation, "Generic
Distro Configuration Concept" and "Extlinux Bootmeth".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from piimage.board import Board
from piimage.firmware.entries import BootPartition, LoaderWithEntries, values_of
from piimage.firmware.try_flag import TryFlag
from piimage.firmware.writer import INITRAMFS, KERNEL

MENU: Final = "extlinux/extlinux.conf"
_LABEL: Final = "current"


class Extlinux(LoaderWithEntries):
    """U-Boot with one entry."""

    current = MENU
    tried = ""
    keys = ("kernel", "initrd", "append", "fdt")
    try_flag: Final = TryFlag("none", "")

    def entry(self, board: Board, prefix: str, options: str) -> Sequence[str]:
        """Return the lines of a menu with one entry."""
        lines = [f"default {_LABEL}", f"label {_LABEL}", f"kernel /{prefix}{KERNEL}"]
        lines += [f"initrd /{prefix}{INITRAMFS}"]
        # Without a tree of the card, U-Boot passes on the one that it was started with.
        lines += [f"fdt /{prefix}{name}" for name in board.trees[:1]]
        return [*lines, f"append {options}"]

    def require_loader(self, partition: BootPartition) -> None:
        """Require nothing: U-Boot is in no file of the partition."""

    def chosen(self, partition: BootPartition) -> Mapping[str, str]:
        """Return the default entry; raises PiimageError ``firmware.bad-entry``."""
        entry = values_of(partition.needed(MENU, "menu"))
        if not entry.get("default") or entry.get("default") != entry.get("label"):
            raise partition.refused(
                "firmware.bad-entry", f"{MENU} has no entry that is its default"
            )
        return entry
