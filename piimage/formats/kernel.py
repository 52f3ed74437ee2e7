"""Writes kernel, initramfs and command line, as LinuxKit's ``kernel+initrd`` and as one tar.

The initramfs contains the slot's layers, and what a new data partition has, so that the whole
system boots without a card.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from piimage.card.ext4 import DataFile
from piimage.durable import write_chunks
from piimage.firmware import writer
from piimage.plan.slot import Content, Version, data_files, slot_files
from piimage.steps import Job, Step
from piimage.store import CHUNK, Blob
from piimage.trees import Entry, Kind, cpio_chunks, file, folder, tar_chunks

SLOT: Final = "slot"
"""The folder of the initramfs that replaces the slot's partition."""

Data = Mapping[str, DataFile]
"""Files for /data by path; folders come before what is in them."""


@dataclass(frozen=True)
class KernelAndInitramfs:
    """``NAME-kernel``, ``NAME-initrd.img`` and ``NAME-cmdline``."""

    def steps(self, version: Version) -> tuple[Step, ...]:
        """Return no steps: the version's are enough."""
        return ()

    def write(self, version: Version, job: Job, name: str, out: Path) -> tuple[Path, ...]:
        """Write the three files."""
        files = slot_files(version, job)
        parts = {
            f"{name}-kernel": _read(files[writer.KERNEL], job),
            f"{name}-initrd.img": initramfs_chunks(files, data_of(version), job),
            f"{name}-cmdline": _read(files["cmdline.txt"], job),
        }
        mode = version.file_mode
        return tuple(write_chunks(out / file, chunks, mode) for file, chunks in parts.items())


@dataclass(frozen=True)
class KernelAndInitramfsTar:
    """``NAME-initrd.tar``: the same three files in one tar, as LinuxKit names them."""

    def steps(self, version: Version) -> tuple[Step, ...]:
        """Return no steps: the version's are enough."""
        return ()

    def write(self, version: Version, job: Job, name: str, out: Path) -> tuple[Path, ...]:
        """Write the tar."""
        chunks = kernel_tar_chunks(slot_files(version, job), data_of(version), job)
        return (write_chunks(out / f"{name}-initrd.tar", chunks, version.file_mode),)


def data_of(version: Version) -> Data:
    """Return the files of a new data partition, which are in memory here."""
    return dict(data_files(version.appliance))


def kernel_tar_chunks(files: Mapping[str, Content], data: Data, job: Job) -> Iterator[bytes]:
    """Give a tar with kernel, initramfs and command line."""
    size = sum(map(len, initramfs_chunks(files, data, job)))
    initramfs = Entry(
        "initrd.img", Kind.FILE, size=size, content=lambda: initramfs_chunks(files, data, job)
    )
    kernel, line = files[writer.KERNEL], files["cmdline.txt"]
    yield from tar_chunks((_entry("kernel", kernel, job), initramfs, _entry("cmdline", line, job)))


def initramfs_chunks(files: Mapping[str, Content], data: Data, job: Job) -> Iterator[bytes]:
    """Give the slot's initramfs, followed by an archive with the slot's other files and `data`.

    The kernel unpacks consecutive archives as one. The second is not compressed, because the layers
    already are. Source: Documentation/driver-api/early-userspace/buffer-format.rst.
    """
    size = 0
    for chunk in _read(files[writer.INITRAMFS], job):
        size += len(chunk)
        yield chunk
    yield bytes(-size % 4)  # an archive begins at a multiple of four bytes
    yield from cpio_chunks(_slot(files, data, job))


def _slot(files: Mapping[str, Content], data: Data, job: Job) -> Iterator[Entry]:
    yield folder(SLOT)
    yield folder(f"{SLOT}/layers")
    for path, content in sorted(files.items()):
        if path.startswith("layers/") or path == "appliance.json":
            yield _entry(f"{SLOT}/{path}", content, job)
    yield folder(f"{SLOT}/data")
    for path, item in data.items():
        place = f"{SLOT}/data/{path}"
        if item.content is None:
            yield folder(place, item.mode, item.uid, item.gid)
        else:
            yield file(place, item.content, item.mode, item.uid, item.gid)


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
