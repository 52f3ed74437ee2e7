"""systemd-boot, which UEFI starts from the EFI system partition: its files, and how it reads them.

Sources: UEFI specification 2.10, section 3.5.1.1 (the default path of removable media); UAPI group,
"Boot Loader Specification" (type 1 entries); loader.conf(5); systemd, "The Boot Loader Interface".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from piimage.board import Board
from piimage.firmware.entries import ARM64, BootPartition, LoaderWithEntries, machine_of, values_of
from piimage.firmware.try_flag import TryFlag
from piimage.firmware.writer import INITRAMFS, KERNEL, Boot

PROGRAM: Final = "EFI/BOOT/BOOTAA64.EFI"
"""What the firmware starts on an arm64 machine if nothing else was set up."""
SETTINGS: Final = "loader/loader.conf"
ENTRIES: Final = "loader/entries"
CURRENT: Final = "current.conf"
"""The entry that an ordinary start boots."""
TRIED: Final = "try.conf"
"""The entry that a try boots: the variable LoaderEntryOneShot names it, which systemd-boot removes
before it starts anything."""


class SystemdBoot(LoaderWithEntries):
    """systemd-boot with the entries `CURRENT` and `TRIED`."""

    current = f"{ENTRIES}/{CURRENT}"
    tried = f"{ENTRIES}/{TRIED}"
    keys = ("linux", "initrd", "options", "devicetree")
    try_flag: Final = TryFlag("efi", "efivarfs")

    def shared_files(self, board: Board, boot: Boot, disk_id: int) -> Mapping[str, str]:
        """Return loader.conf, and the entries; raises the errors of `LoaderWithEntries`."""
        return {SETTINGS: _settings(), **super().shared_files(board, boot, disk_id)}

    def entry(self, board: Board, prefix: str, options: str) -> Sequence[str]:
        """Return the lines of a type 1 entry."""
        lines = ("title piimage", f"linux /{prefix}{KERNEL}", f"initrd /{prefix}{INITRAMFS}")
        return (*lines, f"options {options}")

    def require_loader(self, partition: BootPartition) -> None:
        """Raise PiimageError ``firmware.no-boot-loader`` if the default path leads to none."""
        if machine_of(partition.content(PROGRAM)) != ARM64:
            raise partition.refused(
                "firmware.no-boot-loader",
                f"UEFI starts {PROGRAM}, which is missing or no program for arm64",
            )

    def chosen(self, partition: BootPartition) -> Mapping[str, str]:
        """Return the default entry; raises PiimageError ``firmware.bad-entry``."""
        name = values_of(partition.needed(SETTINGS, "configuration")).get("default", "")
        if not name or "/" in name or "*" in name:
            raise partition.refused(
                "firmware.bad-entry", f"{SETTINGS} names no entry as its default"
            )
        return values_of(partition.needed(f"{ENTRIES}/{name}", "entry"))

    def trial(self, partition: BootPartition) -> Mapping[str, str]:
        """Return the entry that LoaderEntryOneShot would name."""
        return values_of(partition.content(self.tried))


def _settings() -> str:
    # No menu, no entries of other systems, and no editor of the command line.
    return f"default {CURRENT}\ntimeout 0\neditor no\nauto-entries no\nauto-firmware no\n"
