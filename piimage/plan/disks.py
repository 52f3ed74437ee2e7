"""What the system has for `disks:`: the list of the program that mounts them, and the modules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from piimage.board import Board
from piimage.compose.rules import File
from piimage.config.models import Appliance

# ext4 and FAT are in the initramfs, too, with the tables of FAT's short names.
_FILE_SYSTEMS: Final = ("ext4", "vfat", "nls_cp437", "nls_ascii", "exfat")

# The program that mounts disks, as a service of process 1. No container can have this name.
_START: Final = (
    b"service [2345] name:_disks restart:always restart_sec:5 log:null "
    b"/usr/lib/piimage/disks -- Disks that are plugged in\n"
)


def disk_modules(appliance: Appliance, board: Board) -> tuple[str, ...]:
    """Return the modules of USB disks and their file systems.

    The initramfs loads those of USB disks only if the card is on one. A kernel of the file's own
    may have them built in, or under other names.
    """
    if not appliance.disks or appliance.kernel.image is not None:
        return ()
    return (*board.modules.other_disks, *_FILE_SYSTEMS)


def disk_files(appliance: Appliance) -> Iterator[File]:
    """Yield the list of disks, ``NAME rw|ro LABEL`` in each line, and the program's start."""
    if not appliance.disks:
        return
    lines = [f"{d.name} {'ro' if d.readonly else 'rw'} {d.label}\n" for d in appliance.disks]
    yield File("etc/piimage/disks", "".join(lines).encode())
    yield File("etc/finit.d/_disks.conf", _START)
