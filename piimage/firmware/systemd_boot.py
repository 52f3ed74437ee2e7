"""systemd-boot, which UEFI starts from the EFI system partition: its files, and how it reads them.

Sources: UEFI specification 2.10, section 3.5.1.1 (the default path of removable media) and PE
header; UAPI group, "Boot Loader Specification" (type 1 entries); loader.conf(5).
"""

from __future__ import annotations

import datetime
import struct
from collections.abc import Iterator, Mapping
from typing import Final

from piimage.board import Board
from piimage.errors import PiimageError
from piimage.firmware.bootfiles import BootFiles
from piimage.firmware.card import Card
from piimage.firmware.fat import FatReader
from piimage.firmware.writer import INITRAMFS, KERNEL, Boot, cmdline
from piimage.run import Runner

PROGRAM: Final = "EFI/BOOT/BOOTAA64.EFI"
"""What the firmware starts on an arm64 machine if nothing else was set up."""
SETTINGS: Final = "loader/loader.conf"
ENTRIES: Final = "loader/entries"
CURRENT: Final = "current.conf"
"""The entry that an ordinary start boots."""
_PE_AT: Final = 0x3C
_PE: Final = b"PE\0\0"
_ARM64: Final = 0xAA64
_ARM64_MAGIC: Final = (0x38, b"ARM\x64")  # Linux: Documentation/arch/arm64/booting.rst


class SystemdBoot:
    """systemd-boot with the entry `CURRENT`."""

    def shared_files(self, board: Board, boot: Boot, disk_id: int) -> Mapping[str, str]:
        """Return loader.conf, and the entry that starts slot A.

        Raises the errors of `writer.cmdline`.
        """
        prefix = str(board.layout.slots[0])
        return {SETTINGS: _settings(), f"{ENTRIES}/{CURRENT}": _entry(board, boot, disk_id, prefix)}

    def slot_files(self, board: Board, boot: Boot, disk_id: int, prefix: str) -> Mapping[str, str]:
        """Return the command line, which the entry has as well."""
        return {"cmdline.txt": cmdline(board, boot, disk_id, prefix=prefix)}

    def read(
        self,
        card: Card,
        board: Board,  # all models are alike
        runner: Runner,
        *,
        tryboot: bool,
        eeprom: datetime.date | None,
    ) -> BootFiles:
        """Return what is started by the default path and the default entry.

        Raises PiimageError ``firmware.no-boot-partition``, ``firmware.no-boot-loader``,
        ``firmware.missing-file``, ``firmware.bad-entry``, ``firmware.bad-kernel``.
        """
        if not card.fat_numbers:
            raise PiimageError(
                "firmware.no-boot-partition",
                "the disk has no EFI system partition",
                place=card.origin,
                hint="build the image again",
            )
        number = card.fat_numbers[0]
        return _Partition(card.fat(number), number, f"{card.origin}: partition {number}").read(
            tryboot=tryboot
        )

    def refusals(self, card: Card, board: Board, runner: Runner) -> Iterator[PiimageError]:
        """Yield the reason why the disk would not boot."""
        try:
            self.read(card, board, runner, tryboot=False, eeprom=None)
        except PiimageError as error:
            yield error


def _settings() -> str:
    # No menu, no entries of other systems, and no editor of the command line.
    return f"default {CURRENT}\ntimeout 0\neditor no\nauto-entries no\nauto-firmware no\n"


def _entry(board: Board, boot: Boot, disk_id: int, prefix: str) -> str:
    options = cmdline(board, boot, disk_id, prefix=prefix).strip()
    lines = ["title piimage", f"linux /{prefix}{KERNEL}", f"initrd /{prefix}{INITRAMFS}"]
    return "\n".join([*lines, f"options {options}"]) + "\n"


class _Partition:
    """The EFI system partition of a disk."""

    def __init__(self, files: FatReader, number: int, place: str) -> None:
        self._files = files
        self._number = number
        self._place = place

    def read(self, *, tryboot: bool) -> BootFiles:
        """Return what the firmware and the boot loader start."""
        if _machine(self._files.read(PROGRAM) or b"") != _ARM64:
            raise self._refused(
                "firmware.no-boot-loader",
                f"UEFI starts {PROGRAM}, which is missing or no program for arm64",
            )
        name = self._default()
        entry = _values(self._needed(f"{ENTRIES}/{name}", "entry"))
        missing = [key for key in ("linux", "initrd", "options") if not entry.get(key)]
        if missing:
            raise self._refused(
                "firmware.bad-entry", f"the entry {name} has no {' and no '.join(missing)}"
            )
        path = entry["linux"].lstrip("/")
        return BootFiles(
            partition=self._number,
            prefix=path[: path.rfind("/") + 1],
            tryboot=tryboot,
            kernel_path=path,
            kernel=self._kernel(path),
            initramfs=self._needed(entry["initrd"].lstrip("/"), "initramfs"),
            device_tree=None,
            overlays=(),
            cmdline=entry["options"],
            remarks=(),
        )

    def _default(self) -> str:
        """Return the entry that loader.conf names."""
        name = _values(self._needed(SETTINGS, "configuration")).get("default", "")
        if not name or "/" in name or "*" in name:
            raise self._refused("firmware.bad-entry", f"{SETTINGS} names no entry as `default`")
        return name

    def _kernel(self, path: str) -> bytes:
        """Return the kernel, which UEFI starts as a program."""
        kernel = self._needed(path, "kernel")
        offset, magic = _ARM64_MAGIC
        if kernel[offset : offset + len(magic)] != magic or _machine(kernel) != _ARM64:
            raise self._refused(
                "firmware.bad-kernel", f"{path} is not an arm64 kernel that UEFI can start"
            )
        return kernel

    def _needed(self, path: str, kind: str) -> bytes:
        content = self._files.read(path)
        if content is None:
            raise self._refused("firmware.missing-file", f"the {kind} {path} is missing")
        return content

    def _refused(self, code: str, message: str) -> PiimageError:
        return PiimageError(code, message, place=self._place, hint="build the image again")


def _machine(program: bytes) -> int:
    """Return the machine type of a program in PE form; 0 for anything else."""
    if program[:2] != b"MZ" or len(program) < _PE_AT + 4:
        return 0
    (at,) = struct.unpack_from("<I", program, _PE_AT)
    if program[at : at + 4] != _PE or len(program) < at + 6:
        return 0
    machine: int = struct.unpack_from("<H", program, at + 4)[0]
    return machine


def _values(text: bytes) -> dict[str, str]:
    """Return the lines KEY VALUE of a file by their keys."""
    lines = (line.strip() for line in text.decode("utf-8", "replace").splitlines())
    pairs = (line.partition(" ") for line in lines if line and not line.startswith("#"))
    return {key: value.strip() for key, _, value in pairs}
