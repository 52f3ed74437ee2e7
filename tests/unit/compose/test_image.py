from __future__ import annotations

import gzip

import pytest

from piimage.compose.image import ImageKernel
from piimage.errors import InputError
from piimage.oci.pack import pack_tar
from piimage.oci.steps import ScanLayer
from piimage.run import Runner
from piimage.steps import Builder
from piimage.store import Store
from piimage.trees import Entry, file, tar_chunks

IMAGE = bytes(0x38) + b"ARM\x64" + b"kernel"
MODULES = b"".join(tar_chunks([file("lib/modules/6.6.1/kernel/fs/x.ko", b"module")]))


def scan(store: Store, *entries: Entry) -> ScanLayer:
    layer = pack_tar(store, tar_chunks(entries))
    return ScanLayer(layer.descriptor.blob, layer.diff_id)


def test_a_kernel_comes_out_of_an_image(store: Store) -> None:
    layer = scan(store, file("kernel", IMAGE), file("kernel.tar", MODULES))
    step = ImageKernel((), (layer,), "kernel", "kernel.tar")
    job = Builder(store, Runner()).build(step)
    assert gzip.decompress(job.file(step, "image").read_bytes()) == IMAGE
    assert job.file(step, "release").read_text() == "6.6.1"


@pytest.mark.provokes("kernel.image-incomplete")
def test_an_image_without_its_kernel_or_modules_is_refused(store: Store) -> None:
    step = ImageKernel((), (scan(store, file("bzImage", IMAGE)),), "kernel", "kernel.tar")
    with pytest.raises(InputError, match=r"no kernel and no kernel\.tar"):
        Builder(store, Runner()).build(step)
