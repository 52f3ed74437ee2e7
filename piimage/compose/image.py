"""Layers and a kernel out of container images."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from piimage.compose.layers import Layer, stored_file
from piimage.errors import InputError
from piimage.kernel.package import KernelParts
from piimage.oci.layout import Image
from piimage.oci.models import Descriptor
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
        """What is being made."""
        return f"convert layer {self.layer.layer.sha256[:12]}"

    def blobs(self) -> tuple[Blob, ...]:
        """Return the layer itself, which is read again after it was checked."""
        return (self.layer.layer,)

    def tree(self, job: Job) -> Tree:
        """Give the entries as overlayfs wants them."""
        return image_layer_tree(job, self.layer, self.lower)


def scans(image: Image) -> tuple[ScanLayer, ...]:
    """Return the steps that check the layers of `image`, lowest first."""
    return tuple(_scan(descriptor, diff_id) for descriptor, diff_id in image.layers)


def _scan(descriptor: Descriptor, diff_id: str) -> ScanLayer:
    return ScanLayer(descriptor.blob, diff_id)


def image_layers(image: Image) -> tuple[ImageLayer, ...]:
    """Return the layers of `image`, lowest first."""
    found = scans(image)
    return tuple(ImageLayer(one, found[:number]) for number, one in enumerate(found))


@dataclass(frozen=True)
class ImageKernel(KernelParts):
    """A kernel that an image carries, as LinuxKit's do: `binary`, and its modules in the tar `tar`.

    Source: LinuxKit, docs/kernels.md. `tar` is empty where no modules are wanted.
    """

    layers: tuple[ScanLayer, ...]
    binary: str
    tar: str

    def blobs(self) -> tuple[Blob, ...]:
        """Return the layers, which are read again after they were checked."""
        return tuple(one.layer for one in self.layers)

    def entries(self, job: Job) -> Iterator[Entry]:
        """Give the kernel, then its modules, at the places where Debian has them.

        Raises InputError ``kernel.image-incomplete`` when the image lacks one of the two.
        """
        found: dict[str, Blob] = {}
        for number, layer in enumerate(self.layers):
            for entry in image_layer_tree(job, layer, self.layers[:number]):
                if entry.kind is Kind.FILE and entry.path in (self.binary, self.tar):
                    found[entry.path] = job.store.add_stream(entry.content())
        missing = [name for name in (self.binary, self.tar) if name and name not in found]
        if missing:
            raise InputError(
                "kernel.image-incomplete",
                f"the kernel's image holds no {' and no '.join(missing)}",
                place="kernel.image",
                hint="say what they are called there with binary: and tar:",
            )
        kernel = found[self.binary]
        yield stored_file("boot/vmlinuz-image", kernel, job)
        if self.tar:
            with job.store.verified(found[self.tar]).open("rb") as stream:
                for entry in read_tar(stream, f"{self.tar} of the kernel's image"):
                    yield replace(entry, path=_MERGED.sub("usr/lib/modules", entry.path, 1))
