"""Layers as squashfs under the kernel's own overlayfs, against umoci's unpacking; as root."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from piimage.oci.archive import export_folder
from piimage.oci.layers import Scan, layer_tree, lower_tree, scan
from piimage.oci.layout import Image, Layout
from piimage.oci.models import ARM64, ImageConfig, RootFileSystem
from piimage.oci.pack import pack_tar
from piimage.run import Runner
from piimage.trees import Entry, Kind, file, folder, symlink, tar_chunks

LAYERS: Sequence[Sequence[Entry]] = (
    [
        folder("usr"), folder("usr/lib"), symlink("lib", "usr/lib"), file("usr/lib/a", b"a"),
        folder("etc"), file("etc/gone", b"g"), file("etc/kept", b"k", 0o600, 3, 4),
        folder("var"), folder("var/old"), file("var/old/x", b"x"), folder("tmp", 0o1777),
        folder("swap"), file("swap/in", b"1"), file("change", b"file"), folder("remade"),
        file("remade/before", b"b"),
    ],
    [
        file("etc/.wh.gone", b""), folder("var/old"), file("var/old/.wh..wh..opq", b""),
        file("var/old/y", b"y"), file("tmp/x", b"x"), file("lib/b", b"b"), file(".wh.remade", b""),
        folder("remade"), file("remade/after", b"a"), file("change", b"changed", 0o755),
        Entry("hard", Kind.HARD_LINK, link="change"), Entry("fifo", Kind.FIFO, 0o600),
        Entry("cap", Kind.FILE, 0o755, xattrs={"user.note": b"hi"}),
    ],
    [
        file("var/.wh.old", b""), file(".wh.swap", b""), file("swap", b"now a file"),
        folder("etc/new"),
    ],
)  # fmt: skip


def made(layout: Layout) -> Image:
    packed = [pack_tar(layout.store, tar_chunks(entries)) for entries in LAYERS]
    config = ImageConfig(
        os="linux",
        architecture=ARM64.architecture,
        rootfs=RootFileSystem(diff_ids=tuple(layer.diff_id for layer in packed)),
    )
    return layout.write_image(config, [layer.descriptor for layer in packed])


def seen(root: Path) -> dict[str, tuple[object, ...]]:
    """Everything below `root` that an image decides."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        content: object = None
        if path.is_symlink():
            content = path.readlink()
        elif path.is_file():
            content = (path.read_bytes(), {n: os.getxattr(path, n) for n in os.listxattr(path)})
        found[str(path.relative_to(root))] = (
            status.st_mode, status.st_uid, status.st_gid, status.st_rdev, content,
        )  # fmt: skip
    return found


@pytest.fixture
def shown(layout: Layout, tmp_path: Path, runner: Runner) -> Iterator[Path]:
    """The image's layers, each a squashfs, mounted as the Pi mounts them."""
    image = made(layout)
    scans: list[Scan] = []
    mounted: list[Path] = []
    target = tmp_path / "shown"
    target.mkdir()
    try:
        for number, (descriptor, diff_id) in enumerate(image.layers):
            path = layout.store.path(descriptor.blob)
            scans.append(scan(runner, path, diff_id, "test"))
            tree = layer_tree(runner, path, scans[-1], lower_tree(scans[:-1]), "test")
            squashfs = tmp_path / f"{number}.squashfs"
            runner.feed(
                ["mksquashfs", "-", squashfs, "-tar", "-noappend", "-quiet", "-no-progress"],
                tar_chunks(tree),
            )
            place = tmp_path / f"layer{number}"
            place.mkdir()
            subprocess.run(["mount", "-o", "loop,ro", squashfs, place], check=True)
            mounted.insert(0, place)
        stack = ":".join(str(place) for place in mounted)
        subprocess.run(
            ["mount", "-t", "overlay", "-o", f"ro,lowerdir={stack}", "none", target], check=True
        )
        mounted.insert(0, target)
        yield target
    finally:
        for place in mounted:
            subprocess.run(["umount", place], check=True)


def test_the_kernel_shows_what_an_engine_unpacks(
    shown: Path, layout: Layout, tmp_path: Path
) -> None:
    export_folder(layout, {"image": made(layout).descriptor}, tmp_path / "oci")
    subprocess.run(
        ["umoci", "raw", "unpack", "--image", f"{tmp_path / 'oci'}:image", tmp_path / "unpacked"],
        check=True, capture_output=True,
    )  # fmt: skip
    expected = seen(tmp_path / "unpacked")
    assert seen(shown) == expected
    assert (shown / "tmp").stat().st_mode & 0o7777 == 0o1777
    assert (shown / "lib/b").read_bytes() == b"b"
    assert sorted(path.name for path in (shown / "var").iterdir()) == []
