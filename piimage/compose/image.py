"""Layers and a kernel from container images."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from piimage.compose.layers import Layer, stored_file
from piimage.errors import InputError
from piimage.kernel.package import KernelParts
from piimage.oci.layout import Image
from piimage.oci.steps import ScanLayer, image_layer_tree
from piimage.steps import Job
from piimage.store import Blob
from piimage.trees import Entry, Kind, Tree, read_tar

_MERGED = re.compile(r"\A(usr/)?lib/modules")


@dataclass(frozen=True)
class ImageLayer(Layer):
    """One layer of an image, over its `lower` ones."""

    layer: ScanLayer
    lower: tuple[ScanLayer, ...]

    @property
    def title(self) -> str:
        """The name of the work."""
        return f"convert layer {self.layer.layer.sha256[:12]}"

    def blobs(self) -> tuple[Blob, ...]:
        """Return the layer's blob, which is read again after the scan."""
        return (self.layer.layer,)

    def tree(self, job: Job) -> Tree:
        """Yield the entries as overlayfs needs them."""
        return image_layer_tree(job, self.layer, self.lower)


def scans(image: Image) -> tuple[ScanLayer, ...]:
    """Return the steps that scan the layers of `image`, lowest first."""
    return tuple(ScanLayer(descriptor.blob, diff_id) for descriptor, diff_id in image.layers)


def image_layers(image: Image) -> tuple[ImageLayer, ...]:
    """Return the layers of `image`, lowest first."""
    steps = scans(image)
    return tuple(ImageLayer(step, steps[:number]) for number, step in enumerate(steps))


@dataclass(frozen=True)
class ImageKernel(KernelParts):
    """A kernel from an image in LinuxKit's form: the file `binary`, and its modules in `tar`.

    `tar` is empty if no modules are wanted. Source: LinuxKit, docs/kernels.md.
    """

    layers: tuple[ScanLayer, ...]
    binary: str
    tar: str

    def blobs(self) -> tuple[Blob, ...]:
        """Return the blobs of the layers, which are read again after the scan."""
        return tuple(step.layer for step in self.layers)

    def entries(self, job: Job) -> Iterator[Entry]:
        """Yield the kernel, then its modules, at Debian's paths.

        Raises InputError ``kernel.image-incomplete`` if the image lacks one of the two.
        """
        files: dict[str, Blob] = {}
        for number, layer in enumerate(self.layers):
            for entry in image_layer_tree(job, layer, self.layers[:number]):
                if entry.kind is Kind.FILE and entry.path in (self.binary, self.tar):
                    files[entry.path] = job.store.add_stream(entry.content())
        missing = [name for name in (self.binary, self.tar) if name and name not in files]
        if missing:
            raise InputError(
                "kernel.image-incomplete",
                f"the kernel's image has no {' and no '.join(missing)}",
                place="kernel.image",
                hint="name the files in the image with binary: and tar:",
            )
        kernel = files[self.binary]
        yield stored_file("boot/vmlinuz-image", kernel, job)
        if self.tar:
            with job.store.verified(files[self.tar]).open("rb") as stream:
                for entry in read_tar(stream, f"{self.tar} of the kernel's image"):
                    yield replace(entry, path=_MERGED.sub("usr/lib/modules", entry.path, 1))
