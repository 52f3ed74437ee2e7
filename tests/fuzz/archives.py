"""The readers of archives: tars, packages, images, wheels."""

from __future__ import annotations

import base64
import functools
import gzip
import hashlib
import io
import shutil
import tarfile
import tempfile
import zipfile
from pathlib import Path

from piimage import cache
from piimage.debian import deb
from piimage.oci import layers
from piimage.oci.archive import export_archive, import_archive
from piimage.oci.layout import Layout
from piimage.oci.models import ARM64, ImageConfig, RootFileSystem
from piimage.oci.pack import pack_layer
from piimage.python.wheel import Wheel
from piimage.run import Runner
from piimage.store import Store
from piimage.trees import Entry, Kind, file, folder, read_tar, symlink, tar_chunks
from tests.fuzz.mutation import Mutator, tar_sums
from tests.unit.debian.makers import Deb, ar, control, gz, tar

RUNNER = Runner()
WHEEL = "hello-1.0-py3-none-any.whl"


@functools.cache
def tars() -> list[bytes]:
    tree = [
        folder("etc", 0o750, 1, 2),
        file("etc/motd", b"hello" * 200, 0o640, 3, 4),
        symlink("etc/link", "../x"),
        Entry("dev/null", Kind.CHARACTER, 0o666, device=(1, 3)),
        Entry("bin/ping", Kind.FILE, 0o755, xattrs={"user.a": b"\x01\xff\x00"}),
        Entry("etc/again", Kind.HARD_LINK, 0o640, link="etc/motd"),
        file("d" * 100 + "/" + "n" * 90, b""),
        file("etc/.wh.gone", b""),
        file("a/.wh..wh..opq", b""),
    ]
    out = [b"".join(tar_chunks(tree))]
    for form in (tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT):
        raw = io.BytesIO()
        with tarfile.open(fileobj=raw, mode="w", format=form) as archive:
            for entry in tree:
                info = tarfile.TarInfo(entry.path)
                data = b"".join(entry.content())
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        out.append(raw.getvalue())
    return out


def damaged_tar(mutator: Mutator) -> bytes:
    data = mutator.binary()
    return tar_sums(data) if mutator.chance.random() < 0.8 else data


def read_archive(data: bytes, _: Path) -> None:
    for entry in read_tar(io.BytesIO(data), "fuzz"):
        for _chunk in entry.content():
            pass


def read_layer(data: bytes, work: Path) -> None:
    path = work / "layer"
    path.write_bytes(data)
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    if data[:2] == b"\x1f\x8b":
        digest = f"sha256:{hashlib.sha256(tars()[0]).hexdigest()}"
    found = layers.Scan.decode(layers.scan(RUNNER, path, digest, "fuzz").encode())
    lower = layers.lower_tree([found, found])
    for entry in layers.layer_tree(RUNNER, path, found, lower, "fuzz"):
        b"".join(entry.content())


def layer_seeds() -> list[bytes]:
    return [*tars(), gzip.compress(tars()[0], mtime=0)]


def debs() -> list[bytes]:
    meta = ("debian-binary", b"2.0\n")
    own = tar({"./control": control(Deb("hello").control)})
    files = tar({"./etc/hello": b"hello\n", "./usr/bin/x": b"x" * 1000})
    return [
        Deb("hello").content,
        ar([meta, ("control.tar", own), ("data.tar", files)]),
        ar([meta, ("control.tar.gz", gz(own)), ("data.tar.gz", gz(files))]),
    ]


def read_deb(data: bytes, work: Path) -> None:
    path = work / "x.deb"
    path.write_bytes(data)
    deb.control_fields(RUNNER, path)
    with deb.data_stream(RUNNER, path) as stream:
        for entry in read_tar(stream, "fuzz"):
            b"".join(entry.content())


def exports() -> list[bytes]:
    with tempfile.TemporaryDirectory() as name:
        store = Store(Path(name) / "store")
        store.remember("ab" * 32, {"": store.add_bytes(b"made"), "x": store.add_bytes(b"too")})
        cache.export(store, Path(name) / "export.tar")
        return [(Path(name) / "export.tar").read_bytes()]


def read_export(data: bytes, work: Path) -> None:
    (work / "export.tar").write_bytes(data)
    store = Store(work / "store")
    cache.merge(store, work / "export.tar")
    assert {path.name for path in work.iterdir()} == {"export.tar", "store"}


def oci_archives() -> list[bytes]:
    with tempfile.TemporaryDirectory() as name:
        layout = Layout(Store(Path(name) / "store"))
        layer = pack_layer(layout.store, [file("etc/motd", b"hello")])
        settings = ImageConfig(
            os="linux", architecture="arm64", rootfs=RootFileSystem(diff_ids=(layer.diff_id,))
        )
        image = layout.write_image(settings, [layer.descriptor])
        layout.attach(image.descriptor, "a/b", [layer.descriptor])
        export_archive(layout, {"app:1": image.descriptor}, Path(name) / "app.tar")
        return [(Path(name) / "app.tar").read_bytes()]


def read_oci_archive(data: bytes, work: Path) -> None:
    layout = Layout(Store(work / "store"))
    for entry in import_archive(layout, io.BytesIO(data), "fuzz"):
        layout.choose(entry, ARM64)
        layout.referrers(entry)


def wheels() -> list[bytes]:
    """What lies in a wheel, one line a file: its name, a tab, its content."""
    return [
        b"hello/__init__.py\tX = 1\nhello-1.0.dist-info/WHEEL\tWheel-Version: 1.0\n"
        b"hello-1.0.dist-info/METADATA\tName: hello\n"
        b"hello-1.0.dist-info/entry_points.txt\t[console_scripts] hi = hello:main\n"
        b"hello-1.0.data/scripts/run\t#!python\nhello-1.0.data/purelib/more.py\tpass\n"
    ]


def damaged_wheel(mutator: Mutator) -> bytes:
    """A zip of damaged files with a RECORD that fits, or a good one whose bytes are damaged."""
    whole = mutator.chance.random() < 0.6
    lines = (mutator.text() if whole else mutator.seeds[0]).split(b"\n")
    out, rows = io.BytesIO(), []
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for line in lines:
            name, _, data = line.partition(b"\t")
            path = name.decode("utf-8", "replace")
            data = data.replace(b"] ", b"]\n")
            digest = hashlib.sha256(data).digest()
            encoded = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
            rows.append(f"{path},sha256={encoded},{len(data)}")
            archive.writestr(path.partition("\0")[0] or "x", data)
        rows.append("hello-1.0.dist-info/RECORD,,")
        archive.writestr("hello-1.0.dist-info/RECORD", "\n".join(rows))
    made = out.getvalue()
    return made if whole else Mutator([made], mutator.chance).binary()


def read_wheel(data: bytes, work: Path) -> None:
    path = work / WHEEL
    path.write_bytes(data)
    for entry in Wheel(path, WHEEL, "3.13").entries():
        b"".join(entry.content())


def emptied(work: Path) -> Path:
    """Return `work`, which holds nothing then."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    return work
