"""The arguments of QEMU for a board's machine, its boot files, card and network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from piimage.board import Board, DiskKind, Emulator, Port, Range
from piimage.boards import known_boards
from piimage.emulator import qemu
from piimage.emulator.drive import Drive
from piimage.emulator.firmware import Firmware
from piimage.emulator.ports import Forward, device_options, netdev_option
from piimage.errors import InputError, PiimageError, raise_all

ACCELERATOR_VARIABLE: Final = "PIIMAGE_ACCELERATOR"
"""The environment variable with a value for QEMU's ``-accel`` in place of the board's."""


@dataclass(frozen=True)
class Machine:
    """An emulated board, ready to start."""

    emulator: Emulator
    cpus: int
    memory_mib: int
    kernel: Path
    initramfs: Path | None
    device_tree: Path | None
    cmdline: str
    drive: Drive
    kind: DiskKind = DiskKind.CARD
    forwards: tuple[Forward, ...] = ()
    tap: str | None = None
    """The tap interface of this host that the board's network is on, in place of NAT."""
    firmware: Firmware | None = None
    """What reads the disk; the machine then gets neither a kernel nor what belongs to it."""
    try_flag_at: int | None = None
    """The address in the guest's memory at which it may leave the flag of a try."""

    def argv(self, monitor: int) -> list[str]:
        """Return the command that starts QEMU, with the console on standard input and output.

        `monitor` is the descriptor of a socket for QMP.
        """
        emulator = self.emulator
        words = [qemu.PROGRAM, "-nodefaults", "-machine", emulator.machine]
        words += _option("-cpu", emulator.cpu)
        words += ["-accel", emulator.accelerator]
        words += ["-smp", str(self.cpus), "-m", str(self.memory_mib)]
        words += self._loaded() if self.firmware is None else self.firmware.options()
        words += self._disk()
        words += ["-netdev", netdev_option(self.forwards, self.tap)]
        words += ["-device", f"{emulator.network},{device_options(self.tap)}"]
        for device in emulator.devices:
            words += ["-device", device]
        words += ["-display", "none", "-monitor", "none"]
        # A machine that stops waits for the monitor, which looks why, and ends QEMU.
        words += ["-action", "reboot=shutdown,shutdown=pause"]
        words += ["-chardev", f"socket,id=monitor,fd={monitor}"]
        words += ["-mon", "chardev=monitor,mode=control"]
        return [*words, "-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"]

    def _loaded(self) -> list[str]:
        words = ["-kernel", str(self.kernel)]
        words += _option("-initrd", self.initramfs)
        words += _option("-dtb", self.device_tree)
        return [*words, "-append", self.cmdline]

    def _disk(self) -> list[str]:
        port = port_of(self.emulator, self.kind)
        if port is None:
            return ["-drive", self.drive.option(self.emulator.disk)]
        words = ["-drive", f"{self.drive.option('none')},id=disk"]
        for device in (*port.bus, f"{port.device},drive=disk"):
            words += ["-device", device]
        return words


def emulator_of(board: Board) -> Emulator:
    """Return the board's emulator; raise InputError ``emulator.no-machine`` if it has none."""
    if board.emulator is None:
        raise InputError(
            "emulator.no-machine",
            f"QEMU cannot emulate {board.title}",
            hint=f"try the same file with one of these boards: {_emulated(board)}",
        )
    return board.emulator


def _emulated(board: Board) -> str:
    return ", ".join(known.name for known in known_boards(board.folders) if known.emulator)


def port_of(emulator: Emulator, kind: DiskKind) -> Port | None:
    """Return the port for a disk of `kind`; None stands for the card slot.

    Raises InputError ``emulator.no-port`` if the machine has no such port.
    """
    if kind is DiskKind.CARD:
        return None
    if kind not in emulator.other_disks:
        known = ", ".join([DiskKind.CARD, *emulator.other_disks])
        raise InputError(
            "emulator.no-port",
            f"QEMU's machine {emulator.machine} cannot boot from {kind}",
            place="--from",
            hint=f"it can boot from {known}; the board qemu-virt can boot from every kind",
        )
    return emulator.other_disks[kind]


def accelerated(emulator: Emulator, environment: Mapping[str, str]) -> Emulator:
    """Return the emulator with the accelerator of the `environment`, if that names one."""
    wanted = environment.get(ACCELERATOR_VARIABLE)
    return emulator.model_copy(update={"accelerator": wanted}) if wanted else emulator


def within_limits(emulator: Emulator, cpus: int | None, memory_mib: int | None) -> tuple[int, int]:
    """Return the number of processors and the memory (MiB): as requested, or the defaults.

    Raises InputError ``emulator.beyond-machine`` for each value that the machine cannot have.
    """
    requests = (("--cpus", cpus, emulator.cpus), ("--mem", memory_mib, emulator.memory_mib))
    raise_all(_faults(emulator.machine, requests))
    return cpus or emulator.cpus.default, memory_mib or emulator.memory_mib.default


def _faults(machine: str, requests: Sequence[tuple[str, int | None, Range]]) -> list[PiimageError]:
    return [
        InputError(
            "emulator.beyond-machine",
            f"the machine {machine} cannot have {value}",
            place=option,
            hint=_allowed(limits),
        )
        for option, value, limits in requests
        if value is not None and not limits.least <= value <= limits.most
    ]


def _allowed(limits: Range) -> str:
    if limits.least == limits.most:
        return f"it always has {limits.least}; omit the option"
    return f"give a value from {limits.least} to {limits.most}"


def _option(name: str, value: object) -> list[str]:
    return [] if value is None else [name, str(value)]
