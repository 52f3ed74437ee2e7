"""A CD that UEFI boots, LinuxKit's ``iso-efi``: ``NAME.iso``. The same bytes boot from a USB stick.

The initramfs contains the slot's layers, as in the format kernel+initrd. So the system runs from
memory, and needs the medium no more.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from piimage import durable
from piimage.card import gpt, ids, iso9660, partitions
from piimage.card.fat import FatVolume
from piimage.card.partitions import Partition, Table
from piimage.errors import InputError
from piimage.firmware import writer
from piimage.firmware.reader import require_bootable
from piimage.formats.kernel import data_of, initramfs_chunks
from piimage.plan.slot import (
    MANIFEST,
    Content,
    Version,
    digest,
    firmware_files,
    shared_files,
    slot_files,
)
from piimage.run import Runner
from piimage.steps import Job, Step
from piimage.store import Blob

_LEAST: Final = 40 << 20
"""The smallest FAT32 (bytes)."""
_MOST: Final = 1 << 30
"""The size of an initramfs (bytes) from which on no machine is expected to have memory for it."""


@dataclass(frozen=True)
class Iso:
    """``NAME.iso``: a GPT with one partition, and an ISO 9660 file system that names its FAT."""

    def steps(self, version: Version) -> tuple[Step, ...]:
        """Return no steps: the version's are enough."""
        return ()

    def write(self, version: Version, job: Job, name: str, out: Path) -> tuple[Path, ...]:
        """Write the ISO, if the board's boot loader finds in it all that it starts.

        Raises InputError ``formats.iso-size``, and the errors of `FatVolume.write` and
        `require_bootable`.
        """
        target, runner = out / f"{name}.iso", job.runner

        def check(draft: Path) -> None:
            require_bootable(draft, version.board, runner, origin=str(target))

        slot = slot_files(version, job, version.prefix)
        identity = digest(slot[MANIFEST])
        with durable.temporary_folder(out, ".iso-") as scratch:
            carried = initramfs_chunks(slot, data_of(version), job)
            initramfs = durable.write_chunks(scratch / "initramfs", carried)
            require_size(initramfs.stat().st_size)
            files = _files(version, job, slot, initramfs)
            serial = ids.number(identity, "iso")
            volume = FatVolume("the CD", "PIIMAGE", serial, room_for(files), files)
            write_iso(runner, name, disk_id(version), volume, target, check, version.file_mode)
        return (target,)


def disk_id(version: Version) -> int:
    """Return the number in the GPT: a machine must not take the ISO on a stick for its own disk."""
    return ids.number(f"{version.board.name} {version.name}", "iso")


def require_size(size: int) -> None:
    """Raise InputError ``formats.iso-size`` if an initramfs of `size` bytes is too large."""
    if size > _MOST:
        raise InputError(
            "formats.iso-size",
            f"the system of the ISO, which runs from memory, has {size >> 20} MiB; the limit is "
            f"{_MOST >> 20} MiB",
            place="--format",
            hint="build a disk instead (--format raw), or leave out containers",
        )


def room_for(files: Mapping[str, Path | bytes]) -> int:
    """Return the size of a FAT32 for `files`: whole MiB, with room for its tables and folders."""
    content = sum(len(f) if isinstance(f, bytes) else f.stat().st_size for f in files.values())
    # A cluster of 512 bytes, the smallest, has eight bytes in the two tables.
    needed = content + content // 50 + (2 << 20)
    return max(_LEAST, -(-needed // partitions.ALIGNMENT) * partitions.ALIGNMENT)


def write_iso(
    runner: Runner,
    name: str,
    number: int,
    volume: FatVolume,
    target: Path,
    check: Callable[[Path], None],
    mode: int,
) -> Path:
    """Write the ISO `target` with `volume`, if `check` does not refuse it; return it.

    `name` becomes the label, `number` the id of the disk. The bytes depend on these and on `volume`
    alone.
    """
    image = Partition(volume.kind, partitions.ALIGNMENT, volume.size)
    table = Table(number, {1: image})
    size = gpt.disk_size(table)
    pieces = {**gpt.encode(table, size), iso9660.START: iso9660.encode(name, image, size)}
    with durable.beside(target, mode) as draft:
        os.truncate(draft, size)
        volume.write(runner, draft, image.start)
        with draft.open("r+b") as file:
            for start, content in pieces.items():
                file.seek(start)
                file.write(content)
        check(draft)
    return target


def _files(
    version: Version, job: Job, slot: Mapping[str, Content], initramfs: Path
) -> dict[str, Path | bytes]:
    """Return the files of the FAT; `initramfs` is that of the `slot`, with its layers."""
    kept = {path: slot[path] for path in (writer.KERNEL, MANIFEST)}
    contents = {**shared_files(version), **firmware_files(version, job)}
    contents |= {version.prefix + path: content for path, content in kept.items()}
    files = {
        path: job.store.verified(content) if isinstance(content, Blob) else content
        for path, content in contents.items()
    }
    return {**files, version.prefix + writer.INITRAMFS: initramfs}
