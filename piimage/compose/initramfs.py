"""The whole initramfs of a version: the base, and the digests of the layers to mount."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from piimage.compose.layers import Layer
from piimage.kernel.initramfs import InitramfsBase
from piimage.steps import Job, Step
from piimage.store import Blob
from piimage.trees import cpio_chunks, file


@dataclass(frozen=True)
class Initramfs(Step):
    """The initramfs that boots the `system` layers with the layer `containers`.

    The kernel unpacks archives that follow one another as one, so a changed service changes only
    the second. Source: Documentation/driver-api/early-userspace/buffer-format.rst.
    """

    base: InitramfsBase
    system: tuple[Layer, ...]
    containers: Layer

    @property
    def title(self) -> str:
        """The name of the work."""
        return "write the initramfs"

    def make(self, job: Job) -> Mapping[str, Blob]:
        """Append the list of layers to the base; output ``initramfs``."""
        system = "".join(f"{layer.squashfs(job).sha256}\n" for layer in self.system)
        containers = f"{self.containers.squashfs(job).sha256}\n"
        entries = [
            file("etc/piimage/system-layers", system.encode()),
            file("etc/piimage/containers-layer", containers.encode()),
        ]
        base = job.file(self.base).read_bytes()
        # An archive begins at a multiple of four bytes; zeros between two are skipped.
        whole = base + bytes(-len(base) % 4) + b"".join(cpio_chunks(entries))
        return {"initramfs": job.store.add_bytes(whole)}
