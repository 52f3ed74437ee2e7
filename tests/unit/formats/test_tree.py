from __future__ import annotations

import gzip
import hashlib
import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from piimage.card.ext4 import DataFile
from piimage.compose.layers import FilesLayer, Layer, LayerTar
from piimage.compose.rules import File, Folder, Rules
from piimage.container.rootfs import LayerNotes
from piimage.durable import write_chunks
from piimage.formats.kernel import initramfs_chunks, kernel_tar_chunks
from piimage.formats.layers import ImageLayer
from piimage.formats.tree import Cover, merged
from piimage.plan.slot import Content
from piimage.run import Runner
from piimage.steps import Builder, Job
from piimage.store import Store
from piimage.trees import Entry, Kind, tar_chunks


def layer(name: str, *files: tuple[str, bytes], folders: tuple[Folder, ...] = ()) -> FilesLayer:
    return FilesLayer(name, Rules(files=tuple(File(p, d) for p, d in files), folders=folders))


def built(store: Store, *layers: Layer) -> Job:
    return Builder(store, Runner()).build(*layers, *(LayerTar(part) for part in layers))


def test_an_upper_layer_covers_what_is_below_it(store: Store) -> None:
    lower = layer("lower", ("etc/a", b"old"), ("etc/b", b"kept"))
    upper = layer("upper", ("etc/a", b"new"))
    job = built(store, lower, upper)
    whole = b"".join(tar_chunks(merged([lower, upper], job)))
    with tarfile.open(fileobj=io.BytesIO(whole)) as archive:
        files = [m for m in archive.getmembers() if m.isfile()]
        found = {m.name: archive.extractfile(m).read() for m in files}  # type: ignore[union-attr]
    assert len(files) == 2
    assert found == {"etc/a": b"new", "etc/b": b"kept"}


def test_a_folder_has_the_mode_of_the_uppermost_layer(store: Store, tmp_path: Path) -> None:
    lower = layer("lower", folders=(Folder("srv", 0o755),))
    upper = layer("upper", folders=(Folder("srv", 0o700),))
    tar = write_chunks(
        tmp_path / "t.tar", tar_chunks(merged([lower, upper], built(store, lower, upper)))
    )
    subprocess.run(["tar", "-xpf", tar, "-C", tmp_path], check=True)
    assert (tmp_path / "srv").stat().st_mode & 0o777 == 0o700


def test_a_hidden_or_emptied_folder_takes_what_is_in_it_along() -> None:
    cover = Cover([LayerNotes(hidden=frozenset({"gone"}), opaque=frozenset({"emptied"}))])
    assert cover.covers(Entry("gone/x/y", Kind.FILE))
    assert cover.covers(Entry("emptied/x", Kind.FILE))
    assert not cover.covers(Entry("emptied", Kind.DIRECTORY))
    assert not cover.covers(Entry("other", Kind.FILE))


def test_a_folder_over_a_file_covers_it() -> None:
    cover = Cover([LayerNotes(folders=frozenset({"x"}))])
    assert cover.covers(Entry("x", Kind.FILE))
    assert not cover.covers(Entry("x", Kind.DIRECTORY))


def test_the_layer_of_an_image_unpacks_to_the_digest_that_it_states(store: Store) -> None:
    step = ImageLayer(layer("files", ("a", b"x")))
    job = Builder(store, Runner()).build(step)
    unpacked = gzip.decompress(job.file(step, "gzip").read_bytes())
    assert job.file(step, "diff-id").read_text() == f"sha256:{hashlib.sha256(unpacked).hexdigest()}"
    with tarfile.open(fileobj=io.BytesIO(unpacked)) as archive:
        assert archive.getnames() == ["a"]


def test_the_initramfs_carries_the_slot_behind_itself(store: Store, tmp_path: Path) -> None:
    first = subprocess.run(
        ["cpio", "-o", "-H", "newc", "--quiet"], input=b"", capture_output=True, check=True
    ).stdout
    blob = store.add_bytes(b"layer")
    job = Job(store, Runner(), lambda event: None, {})
    chunks = initramfs_chunks(
        {
            "initramfs.img": first,
            "layers/x.squashfs": blob,
            "appliance.json": b"{}",
            "config.txt": b"",
        },
        {"ssh": DataFile(None, 0o700), "ssh/key": DataFile(b"private", 0o600)},
        job,
    )
    data = b"".join(chunks)
    assert data.startswith(first)
    second = data[(len(first) + 3) // 4 * 4 :]
    listed = subprocess.run(
        ["cpio", "-tv", "--quiet"], input=second, capture_output=True, check=True
    )
    lines = [line.split() for line in listed.stdout.decode().splitlines()]
    assert [(line[0], line[-1]) for line in lines] == [
        ("drwxr-xr-x", "slot"),
        ("drwxr-xr-x", "slot/layers"),
        ("-rw-r--r--", "slot/appliance.json"),
        ("-rw-r--r--", "slot/layers/x.squashfs"),
        ("drwxr-xr-x", "slot/data"),
        ("drwx------", "slot/data/ssh"),
        ("-rw-------", "slot/data/ssh/key"),
    ]


def test_kernel_initramfs_and_command_line_are_one_tar(store: Store) -> None:
    """With LinuxKit's names, and the same bytes each time."""
    files: dict[str, Content] = {
        "kernel.img": store.add_bytes(b"kernel"), "initramfs.img": b"initramfs",
        "cmdline.txt": b"quiet\n", "layers/x.squashfs": b"layer", "appliance.json": b"{}",
    }  # fmt: skip
    job = Job(store, Runner(), lambda event: None, {})
    whole = b"".join(kernel_tar_chunks(files, {}, job))
    assert b"".join(kernel_tar_chunks(files, {}, job)) == whole
    with tarfile.open(fileobj=io.BytesIO(whole)) as archive:
        assert archive.getnames() == ["kernel", "initrd.img", "cmdline"]
        found = [archive.extractfile(member).read() for member in archive]  # type: ignore[union-attr]
    assert found == [b"kernel", b"".join(initramfs_chunks(files, {}, job)), b"quiet\n"]


def test_what_fails_while_it_is_written_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "x"
    target.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError):
        write_chunks(target, (bytes(1 // n) for n in (1, 0)))
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]
