"""Reads what boot loaders with an entry for each system start: kernel, initramfs, command line."""

from __future__ import annotations

import datetime
import struct
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Final

from piimage.board import Board
from piimage.errors import InputError, PiimageError
from piimage.firmware.bootfiles import BootFiles
from piimage.firmware.card import Card
from piimage.firmware.writer import CHOICE_SIZE, SELECT, TRY, TRY_WORD, Boot, cmdline
from piimage.run import Runner

ARM64: Final = 0xAA64
"""The machine type of programs for arm64 (UEFI 2.10, section 2.3)."""
_PE_AT: Final = 0x3C
_PE: Final = b"PE\0\0"
_KERNEL: Final = (0x38, b"ARM\x64")  # Linux: Documentation/arch/arm64/booting.rst


class LoaderWithEntries(ABC):
    """A boot loader whose entry has the command line, and which is the same on all models.

    An ordinary start boots the entry in the file `current`, a try the one in the file `tried`. Each
    is one sector, which an update changes in place.
    """

    current: ClassVar[str]
    tried: ClassVar[str]
    keys: ClassVar[tuple[str, str, str, str]]
    """The words of an entry for kernel, initramfs, command line and device tree."""

    def shared_files(self, board: Board, boot: Boot, disk_id: int) -> Mapping[str, str]:
        """Return the entries: slot A for an ordinary start, slot B for a try.

        Raises the errors of `_sector`.
        """
        first, second = map(str, board.layout.slots)
        # The longer one first: its error says how much is too much.
        tried = self._sector(board, boot, disk_id, second, (TRY_WORD,))
        return {self.current: self._sector(board, boot, disk_id, first), self.tried: tried}

    def scripts(self, board: Board, boot: Boot) -> Mapping[str, bytes]:
        """Return none, unless the loader needs one."""
        return {}

    def slot_files(self, board: Board, boot: Boot, disk_id: int, prefix: str) -> Mapping[str, str]:
        """Return the command line, and the entries that an update needs to select the slot.

        Raises the errors of `_sector`.
        """
        tried = self._sector(board, boot, disk_id, prefix, (TRY_WORD,))
        return {
            "cmdline.txt": cmdline(board, boot, disk_id, prefix=prefix),
            SELECT: self._sector(board, boot, disk_id, prefix),
            TRY: tried,
        }

    @abstractmethod
    def entry(self, board: Board, prefix: str, options: str) -> Sequence[str]:
        """Return the lines of the entry that starts the slot in the folder `prefix`."""

    def _sector(
        self, board: Board, boot: Boot, disk_id: int, prefix: str, more: tuple[str, ...] = ()
    ) -> str:
        """Return an entry that is as long as a sector.

        Raises InputError ``firmware.bad-cmdline`` if it is longer, and the errors of `cmdline`.
        """
        options = cmdline(board, boot, disk_id, prefix=prefix, more=more).strip()
        text = "\n".join(self.entry(board, prefix, options)) + "\n"
        if len(text) > CHOICE_SIZE:
            raise InputError(
                "firmware.bad-cmdline",
                f"with the kernel's command line, the boot loader's entry has {len(text)} bytes; "
                f"the limit is {CHOICE_SIZE}",
                place="boot.cmdline",
                hint=f"remove {len(text) - CHOICE_SIZE} characters or more from boot: cmdline:",
            )
        return text.ljust(CHOICE_SIZE, "\n")

    def read(
        self, card: Card, board: Board, runner: Runner, *, tryboot: bool,
        eeprom: datetime.date | None,
    ) -> BootFiles:  # fmt: skip
        """Return what the loader starts.

        An entry to be tried whose kernel is missing is passed over, as a slot that is not whole has
        none: an ordinary start follows. Raises the errors of `BootPartition`.
        """
        partition = BootPartition(card)
        self.require_loader(partition)
        if tryboot or self.is_told(partition):
            entry = self.trial(partition)
            if partition.content(entry.get(self.keys[0], "").lstrip("/")):
                return replace(partition.started(entry, self.keys), tryboot=True)
        return self.started(partition)

    def started(self, partition: BootPartition) -> BootFiles:
        """Return what an ordinary start boots; raises the errors of `BootPartition.started`."""
        return partition.started(self.chosen(partition), self.keys)

    @abstractmethod
    def require_loader(self, partition: BootPartition) -> None:
        """Raise PiimageError unless the firmware finds the boot loader itself."""

    @abstractmethod
    def chosen(self, partition: BootPartition) -> Mapping[str, str]:
        """Return the entry of an ordinary start; raises ``firmware.bad-entry``."""

    def is_told(self, partition: BootPartition) -> bool:
        """Return whether the disk itself says that the next start is a try."""
        return False

    @abstractmethod
    def trial(self, partition: BootPartition) -> Mapping[str, str]:
        """Return the entry of a try; an empty one if there is none."""

    def refusals(self, card: Card, board: Board, runner: Runner) -> Iterator[PiimageError]:
        """Yield the reason why the card would not boot."""
        try:
            self.read(card, board, runner, tryboot=False, eeprom=None)
        except PiimageError as error:
            yield error


class BootPartition:
    """The first FAT partition of a card.

    Raises PiimageError ``firmware.no-boot-partition``.
    """

    def __init__(self, card: Card) -> None:
        if not card.fat_numbers:
            raise PiimageError(
                "firmware.no-boot-partition",
                "the disk has no partition that a boot loader can read",
                place=card.origin,
                hint="build the image again",
            )
        self._card = card
        self._number = card.fat_numbers[0]
        self._files = card.fat(self._number)
        self._place = f"{card.origin}: partition {self._number}"

    def sector(self, number: int) -> bytes:
        """Return a sector of the partition."""
        return self._card.sector(self._number, number)

    def content(self, path: str) -> bytes:
        """Return the content of a file; nothing if it is missing."""
        return self._files.read(path) or b""

    def needed(self, path: str, kind: str) -> bytes:
        """Return the content of a file; raises PiimageError ``firmware.missing-file``."""
        content = self._files.read(path)
        if content is None:
            raise self.refused("firmware.missing-file", f"the {kind} {path} is missing")
        return content

    def started(self, entry: Mapping[str, str], keys: tuple[str, str, str, str]) -> BootFiles:
        """Return what an entry starts; `keys` are its words for kernel, initramfs, command line
        and device tree, of which only the last may be missing.

        Raises PiimageError ``firmware.bad-entry``, ``firmware.bad-kernel``,
        ``firmware.missing-file``.
        """
        kernel_key, initramfs_key, options_key, tree_key = keys
        missing = [key for key in keys[:3] if not entry.get(key)]
        if missing:
            raise self.refused("firmware.bad-entry", f"the entry has no {' and no '.join(missing)}")
        path = entry[kernel_key].lstrip("/")
        tree = entry.get(tree_key, "").lstrip("/")
        return BootFiles(
            partition=self._number,
            prefix=path[: path.rfind("/") + 1],
            tryboot=False,
            kernel_path=path,
            kernel=self._kernel(path),
            initramfs=self.needed(entry[initramfs_key].lstrip("/"), "initramfs"),
            device_tree=self.needed(tree, "device tree") if tree else None,
            overlays=(),
            cmdline=entry[options_key],
            remarks=(),
        )

    def refused(self, code: str, message: str) -> PiimageError:
        """Return the error for this partition."""
        return PiimageError(code, message, place=self._place, hint="build the image again")

    def _kernel(self, path: str) -> bytes:
        """Return the kernel, which is also a program for UEFI."""
        kernel = self.needed(path, "kernel")
        offset, magic = _KERNEL
        if kernel[offset : offset + len(magic)] != magic or machine_of(kernel) != ARM64:
            raise self.refused("firmware.bad-kernel", f"{path} is not an uncompressed arm64 kernel")
        return kernel


def machine_of(program: bytes) -> int:
    """Return the machine type of a program in PE form; 0 for anything else."""
    if program[:2] != b"MZ" or len(program) < _PE_AT + 4:
        return 0
    (at,) = struct.unpack_from("<I", program, _PE_AT)
    if program[at : at + 4] != _PE or len(program) < at + 6:
        return 0
    machine: int = struct.unpack_from("<H", program, at + 4)[0]
    return machine


def values_of(text: bytes) -> dict[str, str]:
    """Return the lines KEY VALUE of a file by their keys, which count in any case."""
    lines = (line.strip() for line in text.decode("utf-8", "replace").splitlines())
    pairs = (line.partition(" ") for line in lines if line and not line.startswith("#"))
    return {key.lower(): value.strip() for key, _, value in pairs}
