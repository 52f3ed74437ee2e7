"""systemd-boot, which UEFI starts from the EFI system partition: its files, and how it reads them.

Sources: UEFI specification 2.10, section 3.5.1.1 (the default path of removable media); UAPI group,
"Boot Loader Specification" (type 1 entries); loader.conf(5).
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Final

from piimage.board import Board
from piimage.firmware.bootfiles import BootFiles
from piimage.firmware.card import Card
from piimage.firmware.entries import ARM64, BootPartition, LoaderWithEntries, machine_of, values_of
from piimage.firmware.writer import INITRAMFS, KERNEL, Boot, cmdline
from piimage.run import Runner

PROGRAM: Final = "EFI/BOOT/BOOTAA64.EFI"
"""What the firmware starts on an arm64 machine if nothing else was set up."""
SETTINGS: Final = "loader/loader.conf"
ENTRIES: Final = "loader/entries"
CURRENT: Final = "current.conf"
"""The entry that an ordinary start boots."""
_KEYS: Final = ("linux", "initrd", "options", "devicetree")


class SystemdBoot(LoaderWithEntries):
    """systemd-boot with the entry `CURRENT`."""

    def shared_files(self, board: Board, boot: Boot, disk_id: int) -> Mapping[str, str]:
        """Return loader.conf, and the entry that starts slot A.

        Raises the errors of `writer.cmdline`.
        """
        prefix = str(board.layout.slots[0])
        return {SETTINGS: _settings(), f"{ENTRIES}/{CURRENT}": _entry(board, boot, disk_id, prefix)}

    def read(
        self, card: Card, board: Board, runner: Runner, *, tryboot: bool,
        eeprom: datetime.date | None,
    ) -> BootFiles:  # fmt: skip
        """Return what is started by the default path and the default entry.

        Raises PiimageError ``firmware.no-boot-loader``, and the errors of `BootPartition`.
        """
        partition = BootPartition(card, tryboot=tryboot)
        if machine_of(partition.content(PROGRAM)) != ARM64:
            raise partition.refused(
                "firmware.no-boot-loader",
                f"UEFI starts {PROGRAM}, which is missing or no program for arm64",
            )
        name = values_of(partition.needed(SETTINGS, "configuration")).get("default", "")
        if not name or "/" in name or "*" in name:
            raise partition.refused(
                "firmware.bad-entry", f"{SETTINGS} names no entry as its default"
            )
        entry = values_of(partition.needed(f"{ENTRIES}/{name}", "entry"))
        return partition.started(entry, _KEYS)


def _settings() -> str:
    # No menu, no entries of other systems, and no editor of the command line.
    return f"default {CURRENT}\ntimeout 0\neditor no\nauto-entries no\nauto-firmware no\n"


def _entry(board: Board, boot: Boot, disk_id: int, prefix: str) -> str:
    options = cmdline(board, boot, disk_id, prefix=prefix).strip()
    lines = ["title piimage", f"linux /{prefix}{KERNEL}", f"initrd /{prefix}{INITRAMFS}"]
    return "\n".join([*lines, f"options {options}"]) + "\n"
