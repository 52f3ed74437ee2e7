"""What U-Boot starts: by extlinux/extlinux.conf, or by a script and an entry for each slot.

The script is on cards whose system can be updated, in place of extlinux.conf, which U-Boot would
take before any script. U-Boot itself is in no file of the partition: the boot ROM reads it from a
fixed place on the card (`firmware: raw:` of the board), or it is in a flash chip. Source: U-Boot's
documentation, "Generic Distro Configuration Concept" and "Extlinux Bootmeth".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from piimage.board import Board
from piimage.firmware import uboot_script as script
from piimage.firmware.bootfiles import BootFiles
from piimage.firmware.entries import BootPartition, LoaderWithEntries, values_of
from piimage.firmware.try_flag import TryFlag
from piimage.firmware.writer import INITRAMFS, KERNEL, Boot, cmdline

MENU: Final = "extlinux/extlinux.conf"
"""The menu of a card whose system cannot be updated."""
_MENU_KEYS: Final = ("kernel", "initrd", "append", "fdt")
_LABEL: Final = "current"
_MIB: Final = 1 << 20


class Extlinux(LoaderWithEntries):
    """U-Boot with a menu of one entry, or with a script that chooses one of two entries."""

    current = "u-boot/current.env"
    tried = "u-boot/try.env"
    keys = (script.KERNEL, script.INITRAMFS, script.OPTIONS, script.TREE)
    try_flag: Final = TryFlag("sector", "")

    def shared_files(self, board: Board, boot: Boot, disk_id: int) -> Mapping[str, str]:
        """Return the menu or the entries; raises the errors of `LoaderWithEntries`."""
        if boot.tries:
            return super().shared_files(board, boot, disk_id)
        prefix = str(board.layout.slots[0])
        return {MENU: _menu(board, prefix, cmdline(board, boot, disk_id, prefix=prefix).strip())}

    def scripts(self, board: Board, boot: Boot) -> Mapping[str, bytes]:
        """Return the script that chooses an entry, if there are two."""
        if not boot.tries:
            return {}
        start = board.layout.start_mib * _MIB
        return {script.SCRIPT: script.script(start, self.current, self.tried)}

    def entry(self, board: Board, prefix: str, options: str) -> Sequence[str]:
        """Return the variables of an entry, whose values a backslash would change."""
        lines = [f"{script.KERNEL}=/{prefix}{KERNEL}", f"{script.INITRAMFS}=/{prefix}{INITRAMFS}"]
        lines += [f"{script.TREE}=/{prefix}{name}" for name in board.trees[:1]]
        escaped = options.replace("\\", "\\\\")
        return [*lines, f"{script.OPTIONS}={escaped}"]

    def require_loader(self, partition: BootPartition) -> None:
        """Require nothing: U-Boot is in no file of the partition."""

    def started(self, partition: BootPartition) -> BootFiles:
        """Return what an ordinary start boots; raises PiimageError ``firmware.bad-entry``."""
        if _has_script(partition):
            return super().started(partition)
        entry = values_of(partition.needed(MENU, "menu"))
        if not entry.get("default") or entry.get("default") != entry.get("label"):
            raise partition.refused(
                "firmware.bad-entry", f"{MENU} has no entry that is its default"
            )
        return partition.started(entry, _MENU_KEYS)

    def chosen(self, partition: BootPartition) -> Mapping[str, str]:
        """Return the entry of an ordinary start."""
        return _variables(partition.needed(self.current, "entry"))

    def is_told(self, partition: BootPartition) -> bool:
        """Return whether the sector that the script reads has the mark of a try."""
        return partition.sector(script.SECTOR).startswith(script.MARK[:4])

    def trial(self, partition: BootPartition) -> Mapping[str, str]:
        """Return the entry of a try; an empty one if no script leads to it."""
        return _variables(partition.content(self.tried)) if _has_script(partition) else {}


def _menu(board: Board, prefix: str, options: str) -> str:
    lines = [f"default {_LABEL}", f"label {_LABEL}", f"kernel /{prefix}{KERNEL}"]
    lines += [f"initrd /{prefix}{INITRAMFS}"]
    # Without a tree of the card, U-Boot passes on the one that it was started with.
    lines += [f"fdt /{prefix}{name}" for name in board.trees[:1]]
    return "\n".join([*lines, f"append {options}"]) + "\n"


def _has_script(partition: BootPartition) -> bool:
    return not partition.content(MENU) and bool(partition.content(script.SCRIPT))


def _variables(text: bytes) -> dict[str, str]:
    """Return the variables of an entry, as `env import -t` reads them."""
    lines = (line.partition("=") for line in text.decode("ascii", "replace").splitlines())
    return {name: value.replace("\\\\", "\\") for name, _, value in lines if name[:1] != "#"}
