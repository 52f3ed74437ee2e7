"""The card's content as a disk of a virtual machine: ``NAME.qcow2``, or ``NAME.vhd`` of fixed size.

Source of the latter: Microsoft, "Virtual Hard Disk Image Format Specification" 1.0 (2006), "Hard
Disk Footer Format" and appendix "CHS Calculation".
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

from piimage.card import ids
from piimage.clock import EPOCH
from piimage.durable import beside
from piimage.run import Runner

_SECTOR: Final = 512
_FOOTER: Final = struct.Struct(">8sIIQI4sI4sQQHBBII16sB427x")
_CHECKSUM_AT: Final = 64
_NO_DATA_OFFSET: Final = (1 << 64) - 1
_EPOCH_OF_VHD: Final = 946_684_800  # 2000-01-01, in seconds since 1970
_CREATOR: Final = b"qem2"
"""The program of whose disks readers take the size, and not the geometry, which is rounded."""
_FIXED: Final = 2


class Disk(Protocol):
    """A form of disks of virtual machines."""

    def write(self, runner: Runner, image: Path, draft: Path, identity: str) -> None:
        """Write the raw disk `image` into the empty file `draft`.

        `identity` identifies the content; the bytes depend on `image` and on it alone.
        """
        ...


class Qcow2:
    """QEMU's form, which takes no room for what is empty."""

    def write(self, runner: Runner, image: Path, draft: Path, identity: str) -> None:
        """Write the disk; one part after another, because their order is that in the file."""
        form = ["-m", "1", "-f", "raw", "-O", "qcow2"]
        runner.run(["qemu-img", "convert", "-q", *form, image, draft])


class Vhd:
    """The form of Azure and of Hyper-V's first generation: the raw disk, and a footer."""

    def write(self, runner: Runner, image: Path, draft: Path, identity: str) -> None:
        """Write the disk."""
        runner.run(["cp", "--sparse=always", "--reflink=auto", image, draft])
        size = image.stat().st_size
        with draft.open("r+b") as file:
            file.seek(size)
            file.write(footer(size, identity))


def footer(size: int, identity: str) -> bytes:
    """Return the last sector of a fixed VHD whose disk has `size` bytes."""
    fields = (
        b"conectix", 2, 0x1_0000, _NO_DATA_OFFSET, max(0, EPOCH - _EPOCH_OF_VHD), _CREATOR,
        0x5_0003, b"Wi2k", size, size, *geometry(size // _SECTOR), _FIXED,
    )  # fmt: skip
    unique = ids.unique_id(identity, "vhd").bytes
    without = _FOOTER.pack(*fields, 0, unique, 0)
    checksum = ~sum(without) & 0xFFFF_FFFF
    return without[:_CHECKSUM_AT] + checksum.to_bytes(4, "big") + without[_CHECKSUM_AT + 4 :]


def geometry(sectors: int) -> tuple[int, int, int]:
    """Return cylinders, heads and sectors per track of a disk, none of which is used any more."""
    sectors = min(sectors, 65535 * 16 * 255)
    if sectors >= 65535 * 16 * 63:
        return sectors // 255 // 16, 16, 255
    for track in (17, 31, 63):
        tracks = sectors // track
        heads = max(4, -(-tracks // 1024)) if track == 17 else 16
        if track == 63 or (tracks < heads * 1024 and heads <= 16):
            return tracks // heads, heads, track
    raise AssertionError(sectors)


DISKS: Final[Mapping[str, Disk]] = {"qcow2": Qcow2(), "vhd": Vhd()}


def write_disks(
    runner: Runner, names: tuple[str, ...], image: Path, target: Path, identity: str, mode: int
) -> tuple[Path, ...]:
    """Write the raw disk `image` in the forms `names`, beside `target`; return their paths."""
    written = []
    for name in names:
        path = target.with_suffix(f".{name}")
        with beside(path, mode) as draft:
            DISKS[name].write(runner, image, draft, identity)
        written.append(path)
    return tuple(written)
