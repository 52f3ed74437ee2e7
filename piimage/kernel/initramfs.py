"""The initramfs: busybox, the script that finds the slot, and the modules which that takes."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from piimage.debian.deb import data_stream
from piimage.errors import InputError
from piimage.kernel.modules import ModuleTree
from piimage.steps import Job, Step
from piimage.store import Blob
from piimage.trees import Entry, Kind, Placement, cpio_chunks, file, folder, read_tar

_DEVICES = (("dev/console", 0o600, (5, 1)), ("dev/null", 0o666, (1, 3)))
_FOLDERS = ("bin", "dev", "etc/piimage", "proc", "run", "sys", "root")


@dataclass(frozen=True)
class Initramfs(Step):
    """The cpio that the boot loader hands to the kernel; output ``initramfs`` (zstd).

    `busybox` is the package busybox-static, `files` what lies beside it, by path.
    """

    uses: ClassVar[tuple[str, ...]] = ("piimage.debian.deb", "piimage.trees")

    busybox: Blob
    modules: ModuleTree
    init: bytes
    files: Mapping[str, bytes]

    @property
    def title(self) -> str:
        """What is being made."""
        return "write the initramfs"

    def make(self, job: Job) -> Mapping[str, Blob]:
        """Write and compress the cpio."""
        entries = Placement().place(self._entries(job))
        packed = job.runner.feed(["zstd", "-q", "-15", "-T1", "-c"], cpio_chunks(entries))
        return {"initramfs": job.store.add_bytes(packed.stdout)}

    def _entries(self, job: Job) -> Iterator[Entry]:
        for path in _FOLDERS:
            yield folder(path)
        for path, mode, device in _DEVICES:
            yield Entry(path, Kind.CHARACTER, mode, device=device)
        yield file("bin/busybox", self._busybox(job), stat.S_IRWXU | 0o055)
        yield file("init", self.init, 0o755)
        for path, data in sorted(self.files.items()):
            yield file(path, data)
        yield file("etc/piimage/modules", job.file(self.modules, "boot-order").read_bytes())
        boot = job.file(self.modules, "boot")
        with boot.open("rb") as stream:
            yield from read_tar(stream, "the boot modules")

    def _busybox(self, job: Job) -> bytes:
        path = job.store.verified(self.busybox)
        with data_stream(job.runner, path) as stream:
            for entry in read_tar(stream, str(path)):
                if entry.path in ("bin/busybox", "usr/bin/busybox"):
                    return b"".join(entry.content())
        raise InputError(
            "kernel.no-busybox",
            "the package busybox-static holds no busybox",
            hint="lock again with: piimage lock",
        )
