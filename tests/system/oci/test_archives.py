"""Archives of images open with what people have, by the name of the file alone; as root.

The host is amd64 or arm64: the archive has both, and one of arm64 alone is asked for as such where
the tool looks at the platform.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from piimage.oci.archive import export_archive
from piimage.oci.layout import Layout
from piimage.oci.models import (
    ARM64,
    Descriptor,
    ImageConfig,
    Index,
    Platform,
    RootFileSystem,
)
from piimage.oci.pack import pack_layer
from piimage.trees import file
from tests.system.oci import engines

NAME = "example/app:1"


def made(layout: Layout, platform: Platform) -> Descriptor:
    layer = pack_layer(layout.store, [file("etc/motd", str(platform).encode())])
    config = ImageConfig(
        os=platform.os,
        architecture=platform.architecture,
        variant=platform.variant,
        rootfs=RootFileSystem(diff_ids=(layer.diff_id,)),
    )
    image = layout.write_image(config, [layer.descriptor])
    bill = layout.store.add_bytes(b"bill")
    layout.attach(image.descriptor, "application/spdx+json", [Descriptor.of("a/b", bill)])
    return image.descriptor


@pytest.fixture(params=["arm64", "both"])
def archive(request: pytest.FixtureRequest, layout: Layout, tmp_path: Path) -> Path:
    found = [made(layout, ARM64)]
    if request.param == "both":
        found.append(made(layout, Platform(os="linux", architecture="amd64")))
    top = found[0] if len(found) == 1 else layout.write_index(Index(manifests=tuple(found)))
    export_archive(layout, {NAME: top}, tmp_path / "app.tar")
    return tmp_path / "app.tar"


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder whose path is short enough for sockets in it (108 bytes) and for podman (50)."""
    with tempfile.TemporaryDirectory(prefix="oci") as folder:
        yield Path(folder)


def output_of(*words: str | Path) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def test_skopeo_opens_an_archive(archive: Path, tmp_path: Path) -> None:
    for form in ("oci-archive", "docker-archive"):
        output_of("skopeo", "copy", "-q", f"{form}:{archive}", f"dir:{tmp_path}/{form}")
        assert (tmp_path / form / "manifest.json").is_file()


def test_podman_and_buildah_open_an_archive(archive: Path, short: Path) -> None:
    own = ("--root", short / "root", "--runroot", short / "run", "--storage-driver", "vfs")
    assert NAME in output_of("podman", *own, "load", "-q", "-i", archive)
    other = ("--root", short / "2", "--runroot", short / "run2", "--storage-driver", "vfs")
    assert len(output_of("buildah", *other, "pull", "-q", f"oci-archive:{archive}").split()) == 1


def test_docker_and_containerd_open_an_archive(archive: Path, short: Path) -> None:
    with engines.running_engine(short) as host:
        assert NAME in output_of("docker", "-H", host, "load", "-i", archive)
        (socket,) = short.rglob("containerd.sock")
        ctr = ("ctr", "--address", socket, "image")
        output_of(*ctr, "import", "--platform", "linux/arm64", "--no-unpack", archive)
        assert NAME in output_of(*ctr, "ls", "-q").splitlines()
