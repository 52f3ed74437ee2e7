from __future__ import annotations

from piimage import events
from piimage.compose.initramfs import Initramfs
from piimage.compose.layers import FilesLayer
from piimage.compose.rules import File, Rules
from piimage.kernel.initramfs import InitramfsBase
from piimage.kernel.modules import ModuleTree
from piimage.kernel.package import UnpackedKernel
from piimage.run import Runner
from piimage.steps import Job
from piimage.store import Blob, Store


def layer(name: str) -> FilesLayer:
    return FilesLayer(name, Rules(files=(File(name, b""),)))


def test_the_initramfs_lists_the_layers_in_an_archive_behind_the_base(store: Store) -> None:
    base = InitramfsBase(Blob("0" * 64, 1), ModuleTree(UnpackedKernel((), ()), (), ()), b"", b"")
    lower, upper, containers = layer("lower"), layer("upper"), layer("containers")
    made = {
        base.key: {"cpio": store.add_bytes(b"12345")},
        lower.key: {"squashfs": Blob("a" * 64, 1)},
        upper.key: {"squashfs": Blob("b" * 64, 1)},
        containers.key: {"squashfs": Blob("c" * 64, 1)},
    }
    job = Job(store, Runner(), events.ignore, made)
    outputs = Initramfs(base, (lower, upper), containers).make(job)
    content = store.path(outputs["initramfs"]).read_bytes()
    # An archive begins at a multiple of four bytes, with the magic number of cpio's "newc" form.
    assert content.startswith(b"12345\0\0\0" + b"070701")
    assert b"etc/piimage/system-layers" in content
    assert f"{'a' * 64}\n{'b' * 64}\n\0".encode() in content
    assert f"{'c' * 64}\n\0".encode() in content
