"""spidev 3.8, which the index has as a source archive alone, in a container; as root, by qemu-user.

What came out is asked of `readelf` and of the container's own Python.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

PIIMAGE = Path(sys.executable).with_name("piimage")
SITE = "usr/local/lib/python3.13/dist-packages"
SERVICE = """
name: spi
base: python
sources: [spidev==3.8]
entrypoint: [/usr/bin/python3, -c, "import spidev; spidev.SpiDev()"]
"""


def built(folder: Path, store: Path, out: Path, *options: str) -> Path:
    command = [str(PIIMAGE), "pkg", "build", str(folder), "-o", str(out), "--tag", "x", *options]
    environment = {**os.environ, "PIIMAGE_STORE": str(store)}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("folders") / "spi"
    found.mkdir()
    (found / "service.yml").write_text(SERVICE)
    return found


@pytest.fixture(scope="module")
def archive(folder: Path, piimage_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Once for the lock: it counts in the content that labels the image.
    out = tmp_path_factory.mktemp("out")
    built(folder, piimage_store, out / "first.tar")
    return built(folder, piimage_store, out / "spi.tar", "--locked")


@pytest.fixture(scope="module")
def root(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image's file system."""
    target = tmp_path_factory.mktemp("root")
    with tarfile.open(archive) as image:

        def document(path: str) -> dict[str, list[dict[str, str]]]:
            stream = image.extractfile(path)
            assert stream is not None
            return dict(json.load(stream))

        def blob(descriptor: dict[str, str]) -> str:
            return "blobs/" + descriptor["digest"].replace(":", "/")

        (entry,) = [part for part in document("index.json")["manifests"] if "platform" in part]
        manifest = document(blob(entry))
        for layer in manifest["layers"]:
            stream = image.extractfile(blob(layer))
            assert stream is not None
            with tarfile.open(fileobj=io.BytesIO(stream.read())) as tree:
                tree.extractall(target, filter="tar")
    return target


def test_the_lock_has_the_archive_and_what_builds_it(archive: Path, folder: Path) -> None:
    text = (folder / "service.lock").read_text()
    lock = yaml.safe_load(text)
    assert lock["wheels"]["spidev-3.8.tar.gz"]["sha256"].startswith("2bc02fb8c6312d51")
    assert lock["environments"]["container/spi"]["sources"] == ["spidev==3.8"]
    assert {"toolchain-python/amd64", "toolchain-python/headers"} <= lock["roots"].keys()
    assert "://" not in text


def test_the_extension_is_for_the_target(root: Path) -> None:
    (extension,) = root.glob(f"{SITE}/*.so")
    assert extension.name == "spidev.cpython-313-aarch64-linux-gnu.so"
    shown = subprocess.run(
        ["readelf", "--wide", "--file-header", "--dynamic", "--string-dump=.rodata", extension],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "AArch64" in shown
    assert [line.split()[-1] for line in shown.splitlines() if "NEEDED" in line] == ["[libc.so.6]"]
    assert "/source" not in shown


def test_the_containers_python_imports_it(root: Path) -> None:
    emulator = shutil.copy(shutil.which("qemu-aarch64-static") or "", root / "emulator")
    code = "import importlib.metadata as m, spidev; print(spidev.SpiDev, m.version('spidev'))"
    done = subprocess.run(
        ["chroot", root, f"/{Path(emulator).name}", "/usr/bin/python3", "-Bc", code],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.stdout == "<class 'SpiDev'> 3.8\n", done.stderr


def test_another_store_gives_the_same_bytes_without_a_network(
    archive: Path, folder: Path, piimage_store: Path, tmp_path: Path
) -> None:
    """The other store has the packages and the archive alone: all is unpacked and built anew."""
    lock = yaml.safe_load((folder / "service.lock").read_text())
    blobs = tmp_path / "store" / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    (tmp_path / "store").chmod(0o700)
    machine = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    others = {"amd64", "arm64"} - {machine}
    unused = {
        package
        for name in others
        for package in lock["roots"][f"toolchain-python/{name}"]["packages"]
    }
    used = {
        package
        for name, root in lock["roots"].items()
        if name.rpartition("/")[2] not in others
        for package in root["packages"]
    }
    pins = {**lock["packages"], **lock["wheels"]}
    for name, pin in pins.items():
        if name in used or name not in unused:
            shutil.copy(piimage_store / "blobs" / "sha256" / pin["sha256"], blobs)
    again = built(folder, tmp_path / "store", tmp_path / "spi.tar", "--locked", "--offline")
    assert again.read_bytes() == archive.read_bytes()
