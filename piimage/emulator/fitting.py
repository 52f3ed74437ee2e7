"""Adapts the device tree of a card to the hardware that QEMU emulates (boards/emulator)."""

from __future__ import annotations

from typing import Final

from piimage.board import Board, DiskKind, Emulator
from piimage.boards import fitting_source
from piimage.emulator import qemu
from piimage.emulator.machine import emulator_of
from piimage.firmware import devicetree, fdt
from piimage.firmware.bootfiles import BootFiles
from piimage.firmware.writer import SILENT
from piimage.run import Runner

# The boot loader's numbers: documentation of BOOT_ORDER, and of /chosen/bootloader.
_BOOT_MODES: Final = {
    DiskKind.CARD: 1,
    DiskKind.USB: 4,
    DiskKind.UAS: 4,
    DiskKind.NVME: 6,
    DiskKind.CD: 4,  # there are drives for USB only
}

# An emulated processor does not run ahead of its program, and needs no defence against the faults
# of those that do. A kernel at a random address has page tables of its own: each change to them
# empties QEMU's cache of translations (decision 191).
_EMULATED: Final = ("mitigations=off", "nokaslr")


def base_tree(
    boot: BootFiles, emulator: Emulator, runner: Runner, cpus: int, memory_mib: int
) -> bytes | None:
    """Return the tree of the card, or that of the machine if the firmware would change it."""
    if boot.device_tree is not None or emulator.chosen != "device-tree":
        return boot.device_tree
    return qemu.own_tree(runner, emulator, cpus, memory_mib)


def fitted_tree(
    base: bytes | None,
    boot: BootFiles,
    board: Board,
    runner: Runner,
    kind: DiskKind = DiskKind.CARD,
) -> bytes | None:
    """Return `base` for the machine; None stands for the machine's own tree, unchanged.

    `kind` is the disk that the boot loader reports in the tree.
    """
    if base is None:
        return None
    emulator = emulator_of(board)
    overlays = [
        (name, devicetree.compile_overlay(runner, fitting_source(board, name)))
        for name in emulator.fit
    ]
    tree = devicetree.apply_overlays(runner, base, overlays, origin="the emulator")
    if emulator.chosen != "device-tree":
        return tree
    # Documentation of Raspberry Pi, "Device Tree", /chosen/bootloader.
    cells = {"partition": boot.partition, "tryboot": int(boot.tryboot)}
    # No boot loader reads a virtio disk, and the initramfs would wait for a disk of another kind.
    if kind is not DiskKind.CARD or emulator.disk == "sd":
        cells["boot-mode"] = _BOOT_MODES[kind]
    return devicetree.with_cells(runner, tree, "/chosen/bootloader", cells, origin="the emulator")


def kernel_command_line(boot: BootFiles, emulator: Emulator, console: str) -> str:
    """Return the kernel's command line in the emulator; `console` is the board's terminal.

    A kernel on QEMU's own processors (TCG) runs without mitigations.
    A card with ``console: false`` gets a console here: without it nothing could be seen.
    """
    words = [boot.cmdline, *emulator.cmdline]
    if emulator.accelerator.partition(",")[0] == "tcg":
        words += _EMULATED
    if SILENT[0] in boot.cmdline.split():
        words.append(f"console={console}")
    if emulator.chosen == "command-line":
        words.append(f"piimage.partition={boot.partition}")
    return " ".join(word for word in words if word)


def try_flag_at(tree: bytes | None) -> int | None:
    """Return the address at which the fitted `tree` has the guest leave the flag of a try."""
    if tree is None:
        return None
    chosen = fdt.read_tree(tree, "the emulator").node("/chosen")
    cells = () if chosen is None else chosen.cells("piimage,try-flag")
    return cells[0] << 32 | cells[1] if len(cells) == 2 else None
