"""The base of the initramfs: busybox, the script that finds the slot, and its modules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from piimage import packers
from piimage.debian.deb import data_stream
from piimage.errors import InputError
from piimage.kernel.modules import ModuleTree
from piimage.steps import Job, Step
from piimage.store import Blob
from piimage.trees import Entry, Kind, Placement, cpio_chunks, file, folder, read_tar

_DEVICES = (("dev/console", 0o600, (5, 1)), ("dev/null", 0o666, (1, 3)))
_PACK = ("zstd", "-q", "-T1", "-c")
_FOLDERS = ("bin", "dev", "etc/piimage", "proc", "run", "sys", "root")


@dataclass(frozen=True)
class InitramfsBase(Step):
    """The part of an initramfs that does not depend on services: output ``cpio`` (zstd).

    `busybox` is the package busybox-static.
    """

    tools: ClassVar[tuple[str, ...]] = packers.INITRAMFS

    busybox: Blob
    modules: ModuleTree
    init: bytes
    board: bytes
    scripts: Mapping[str, bytes] = field(default_factory=dict)
    """Further files for `init`, in the root folder, by name."""

    @property
    def title(self) -> str:
        """The name of the work."""
        return "pack the initramfs"

    def make(self, job: Job) -> Mapping[str, Blob]:
        """Write and compress the cpio."""
        entries = Placement().place(self._entries(job))
        packed = job.runner.feed([*_PACK, "-12"], cpio_chunks(entries))
        return {"cpio": job.store.add_bytes(packed.stdout)}

    def _entries(self, job: Job) -> Iterator[Entry]:
        for path in _FOLDERS:
            yield folder(path)
        for path, mode, device in _DEVICES:
            yield Entry(path, Kind.CHARACTER, mode, device=device)
        yield file("bin/busybox", self._busybox(job), 0o755)
        yield file("init", self.init, 0o755)
        for name, content in self.scripts.items():
            yield file(name, content)
        yield file("etc/piimage/board", self.board)
        yield file("etc/piimage/modules", job.file(self.modules, "boot-order").read_bytes())
        others = job.file(self.modules, "other-disks-order").read_bytes()
        yield file("etc/piimage/modules-other", others)
        with job.file(self.modules, "boot").open("rb") as stream:
            yield from read_tar(stream, "the boot modules")

    def _busybox(self, job: Job) -> bytes:
        path = job.store.verified(self.busybox)
        with data_stream(job.runner, path) as stream:
            for entry in read_tar(stream, str(path)):
                if entry.path in ("bin/busybox", "usr/bin/busybox"):
                    return b"".join(entry.content())
        raise InputError(
            "kernel.no-busybox",
            "the package busybox-static does not contain busybox",
            hint="lock again with: piimage lock",
        )
