from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import pytest

from piimage.errors import InputError, PiimageError
from piimage.kernel.initramfs import InitramfsBase
from piimage.kernel.modules import ModuleTree
from piimage.kernel.package import UnpackedKernel
from piimage.run import Runner
from piimage.steps import Builder
from piimage.store import Store
from tests.unit.compose.debs import package

RELEASE = "6.12.1-arm64"
IMAGE = "\0" * 0x38 + "ARM\x64" + "the kernel"
MODULES = f"usr/lib/modules/{RELEASE}"
FILES = {
    f"boot/vmlinuz-{RELEASE}": IMAGE,
    f"{MODULES}/modules.builtin": "kernel/none.ko\n",
    f"{MODULES}/kernel/README": "not a module",
    f"usr/lib/linux-image-{RELEASE}/broadcom/board.dtb": "a tree",
    "usr/share/doc/kernel/README": "not a part",
}


def kernel(store: Store, folder: Path, files: dict[str, str], *trees: str) -> UnpackedKernel:
    return UnpackedKernel(trees, (package(store, folder, "linux-image", files).deb,))


def test_a_kernel_package_is_unpacked(store: Store, tmp_path: Path) -> None:
    step = kernel(store, tmp_path, FILES, "board.dtb")
    job = Builder(store, Runner()).build(step)
    assert gzip.decompress(job.file(step, "image").read_bytes()) == IMAGE.encode()
    assert job.file(step, "release").read_text() == RELEASE
    assert job.file(step, "board.dtb").read_text() == "a tree"


def test_the_image_can_be_raw(store: Store, tmp_path: Path) -> None:
    step = replace(kernel(store, tmp_path, FILES, "board.dtb"), form="raw")
    job = Builder(store, Runner()).build(step)
    assert job.file(step, "image").read_bytes() == IMAGE.encode()


@pytest.mark.provokes("kernel.incomplete")
def test_a_device_tree_that_the_package_lacks_is_reported(store: Store, tmp_path: Path) -> None:
    step = kernel(store, tmp_path, {**FILES, "etc/x": "y"}, "board.dtb", "other.dtb")
    with pytest.raises(InputError, match=r"no other\.dtb"):
        Builder(store, Runner()).build(step)


@pytest.mark.provokes("kernel.not-arm64")
def test_a_kernel_for_another_architecture_is_refused(store: Store, tmp_path: Path) -> None:
    step = kernel(store, tmp_path, FILES | {f"boot/vmlinuz-{RELEASE}": "MZ" + "\0" * 100})
    with pytest.raises(PiimageError, match="not an arm64 kernel"):
        Builder(store, Runner()).build(step)


@pytest.mark.provokes("kernel.no-busybox")
def test_an_initramfs_without_busybox_is_refused(store: Store, tmp_path: Path) -> None:
    tree = ModuleTree(kernel(store, tmp_path, FILES), (), ())
    empty = package(store, tmp_path, "busybox-static", {"usr/bin/other": "x"}).deb
    with pytest.raises(InputError, match="does not contain busybox"):
        Builder(store, Runner()).build(InitramfsBase(empty, tree, b"#!/bin/sh\n", b""))
