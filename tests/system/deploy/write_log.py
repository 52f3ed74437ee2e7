"""The log of QEMU's blklogwrites: every write and every sync of an emulated card, in their order.

It has the form of Linux' dm-log-writes (Documentation/admin-guide/device-mapper/log-writes.rst): a
sector that describes the log, then one for each operation, which the written bytes follow.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from piimage.emulator.drive import Drive

SECTOR = 512
_MAGIC = 0x6A736677736872
_SUPER = struct.Struct("<QQQI")
_ENTRY = struct.Struct("<QQQQ")
_FLUSH, _FUA, _DISCARD = 1, 2, 4


@dataclass(frozen=True)
class Write:
    """Bytes that were written at an offset of the card."""

    at: int
    data: bytes
    durable: bool
    """Whether the card had to keep them at once (FUA)."""


@dataclass(frozen=True)
class Epoch:
    """The writes between two syncs: a card that loses its power may have kept any of them."""

    writes: tuple[Write, ...]
    end: int
    """The length of the log up to the sync."""


def log_of(drive: Drive) -> Path:
    """Return the log beside the file of a drive."""
    return drive.path.with_name(f"{drive.path.name}.writes")


def logged(drive: Drive, interface: str) -> str:
    """Return what `Drive.option` would, with a log that goes on when QEMU starts again."""
    log = log_of(drive)
    again = "on" if log.exists() else "off"
    log.touch(mode=0o600)
    return (
        f"if={interface},cache=writeback,driver=blklogwrites,log-append={again},"
        f"file.driver=qcow2,file.file.driver=file,file.file.filename={drive.path},"
        f"log.driver=file,log.filename={log}"
    )


def epochs(path: Path) -> Iterator[Epoch]:
    """Yield the epochs of the log; what follows the last sync is none."""
    with path.open("rb") as file:
        magic, version, _, sector = _SUPER.unpack_from(file.read(SECTOR))
        assert (magic, version, sector) == (_MAGIC, 1, SECTOR), path
        writes: list[Write] = []
        # The number of entries in the first sector is late while QEMU runs.
        while len(head := file.read(SECTOR)) == SECTOR:
            first, sectors, flags, _ = _ENTRY.unpack_from(head)
            if flags & _FLUSH:
                yield Epoch(tuple(writes), file.tell())
                writes = []
            if sectors and not flags & _DISCARD:
                data = file.read(sectors * SECTOR)
                writes.append(Write(first * SECTOR, data, bool(flags & _FUA)))
