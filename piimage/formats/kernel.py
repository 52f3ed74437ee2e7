"""Kernel, initramfs and command line, as LinuxKit's output ``kernel+initrd`` has them.

The initramfs carries the slot's layers, so that it starts the whole system without a card.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from piimage.firmware import writer
from piimage.plan.slot import Content, Version, slot_files
from piimage.steps import Job, Step
from piimage.store import CHUNK, Blob
from piimage.trees import Entry, Kind, cpio_chunks, file, folder
from piimage.writing import write_chunks

SLOT: Final = "slot"
"""The folder of the initramfs that stands for the slot's partition."""


@dataclass(frozen=True)
class KernelAndInitramfs:
    """``NAME-kernel``, ``NAME-initrd.img`` and ``NAME-cmdline``."""

    def steps(self, version: Version) -> tuple[Step, ...]:
        """Return nothing: the version has it all."""
        return ()

    def write(self, version: Version, job: Job, name: str, out: Path) -> tuple[Path, ...]:
        """Write the three files."""
        files = slot_files(version, job)
        kernel, line = files[writer.KERNEL], files["cmdline.txt"]
        return (
            write_chunks(out / f"{name}-kernel", _read(kernel, job)),
            write_chunks(out / f"{name}-initrd.img", initramfs_chunks(files, job)),
            write_chunks(out / f"{name}-cmdline", _read(line, job)),
        )


def initramfs_chunks(files: dict[str, Content], job: Job) -> Iterator[bytes]:
    """Give the slot's initramfs, then an archive with what the slot has beside it.

    The kernel unpacks archives that follow one another as one; the second is not compressed,
    because the layers are. Source: Documentation/driver-api/early-userspace/buffer-format.rst.
    """
    size = 0
    for chunk in _read(files[writer.INITRAMFS], job):
        size += len(chunk)
        yield chunk
    yield bytes(-size % 4)  # an archive begins at a multiple of four bytes
    yield from cpio_chunks(_slot(files, job))


def _slot(files: dict[str, Content], job: Job) -> Iterator[Entry]:
    yield folder(SLOT)
    yield folder(f"{SLOT}/layers")
    for path, content in sorted(files.items()):
        if path.startswith("layers/") or path == "appliance.json":
            yield _entry(f"{SLOT}/{path}", content, job)


def _entry(path: str, content: Content, job: Job) -> Entry:
    if isinstance(content, bytes):
        return file(path, content)
    return Entry(path, Kind.FILE, size=content.size, content=lambda: _read(content, job))


def _read(content: Content, job: Job) -> Iterator[bytes]:
    if not isinstance(content, Blob):
        yield content
        return
    with job.store.verified(content).open("rb") as stream:
        while chunk := stream.read(CHUNK):
            yield chunk
