"""Adapts the device tree of a card to the hardware that QEMU emulates (boards/emulator)."""

from __future__ import annotations

from typing import Final

from piimage.boards import Board, DiskKind, Emulator, fitting_source
from piimage.emulator.machine import emulator_of
from piimage.firmware import devicetree
from piimage.firmware.reader import BootFiles
from piimage.firmware.writer import SILENT
from piimage.run import Runner

# The boot loader's numbers: documentation of BOOT_ORDER, and of /chosen/bootloader.
_BOOT_MODES: Final = {
    DiskKind.CARD: 1,
    DiskKind.USB: 4,
    DiskKind.UAS: 4,
    DiskKind.NVME: 6,
}


def fitted_tree(
    boot: BootFiles, board: Board, runner: Runner, kind: DiskKind = DiskKind.CARD
) -> bytes | None:
    """Return the device tree for the machine, or None if the machine has its own.

    `kind` is the disk that the boot loader reports in the tree.
    """
    if boot.device_tree is None:
        return None
    emulator = emulator_of(board)
    overlays = [
        (name, devicetree.compile_overlay(runner, fitting_source(board, name)))
        for name in emulator.fit
    ]
    tree = devicetree.apply_overlays(runner, boot.device_tree, overlays, origin="the emulator")
    if emulator.chosen != "device-tree":
        return tree
    # Documentation of Raspberry Pi, "Device Tree", /chosen/bootloader.
    cells = {
        "partition": boot.partition,
        "tryboot": int(boot.tryboot),
        "boot-mode": _BOOT_MODES[kind],
    }
    return devicetree.with_cells(runner, tree, "/chosen/bootloader", cells, origin="the emulator")


def kernel_command_line(boot: BootFiles, emulator: Emulator, console: str) -> str:
    """Return the kernel's command line in the emulator; `console` is the board's terminal.

    A card with ``console: false`` gets a console here: without it nothing could be seen.
    """
    words = [boot.cmdline, *emulator.cmdline]
    if SILENT[0] in boot.cmdline.split():
        words.append(f"console={console}")
    if emulator.chosen == "command-line":
        words.append(f"piimage.partition={boot.partition}")
    return " ".join(word for word in words if word)
