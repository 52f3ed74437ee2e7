"""The readers, each with valid inputs, a way to damage them, and the errors that it may raise."""

from __future__ import annotations

import functools
import gzip
import hashlib
import io
import json
import lzma
import re
import subprocess
import tarfile
import tempfile
import zlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from chipmodels.dump import DumpError, parse_dump
from piimage_agent import recipe
from piimage_agent.refusal import Refused
from piimage_seed import main as seed

from piimage import swu
from piimage.card import bmap
from piimage.card.extents import Extent
from piimage.config.load import load, parse_label
from piimage.debian import catalogue, release
from piimage.deploy.recipe import delta
from piimage.errors import PiimageError
from piimage.firmware import config as firmware_config
from piimage.firmware import fat, fdt
from piimage.firmware.config import Conditions
from piimage.flash import content, provision, source
from piimage.flash.unpack import frames_end
from piimage.kernel.modinfo import read_modinfo
from piimage.lock.model import Lock, LockedImage, LockedRoot, LockedSuite
from piimage.lock.reader import parse_lock
from piimage.lock.writer import render_lock
from piimage.oci import dockerfile, models, reference
from piimage.run import Runner
from piimage.swu import Description, Part
from tests.fuzz.archives import (
    damaged_tar,
    damaged_wheel,
    debs,
    exports,
    layer_seeds,
    oci_archives,
    read_archive,
    read_deb,
    read_export,
    read_layer,
    read_oci_archive,
    read_wheel,
    tars,
    wheels,
)
from tests.fuzz.mutation import Mutation, Mutator
from tests.unit.debian.makers import NOW, Deb, control, gz
from tests.unit.seed.files import META_DATA, NETWORK_CONFIG, USER_DATA, USER_DATA_1

ROOT = Path(__file__).parents[2]
RUNNER = Runner()


@dataclass(frozen=True)
class Reader:
    """`read` takes an input and an empty folder; `share` is its part of all inputs."""

    seeds: Callable[[], list[bytes]]
    damage: Mutation
    read: Callable[[bytes, Path], object]
    share: int = 10
    raises: tuple[type[Exception], ...] = (PiimageError,)


# --- documents


def oci_documents() -> list[bytes]:
    with tarfile.open(fileobj=io.BytesIO(oci_archives()[0])) as archive:
        found = []
        for member in archive:
            stream = archive.extractfile(member)
            data = stream.read() if stream else b""
            if data[:1] == b"{":
                found.append(data)
        return found


def read_oci_document(data: bytes, _: Path) -> None:
    kind: type[models.Index | models.Manifest | models.ImageConfig] = models.ImageConfig
    if b'"manifests"' in data:
        kind = models.Index
    elif b'"layers"' in data:
        kind = models.Manifest
    models.encode(models.decode(kind, data, "fuzz"))


def releases() -> list[bytes]:
    fields = {
        "Suite": "stable",
        "Codename": "trixie",
        "Date": "Sun, 17 May 2026 11:00:00 UTC",
        "Valid-Until": "Sun, 24 May 2026 11:00:00 +0200",
        "Components": "main contrib",
        "Architectures": "all arm64",
        "Acquire-By-Hash": "yes",
    }
    return [control(fields) + f"SHA256:\n {'ab' * 32} 12 main/binary-arm64/Packages.xz\n".encode()]


def read_release(data: bytes, _: Path) -> None:
    release.check_suite(release.parse(data, "fuzz"), "trixie", "fuzz")


def packages() -> list[bytes]:
    more = {"Depends": "a (>= 1) | b, c", "Provides": "d (= 1)", "Source": "e (2)"}
    both = "\n".join((Deb("hello", fields=more).stanza, Deb("world").stanza)).encode()
    return [both, lzma.compress(both, preset=0), gz(both)]


def read_packages(data: bytes, work: Path) -> None:
    forms = {b"\xfd7": ".xz", b"\x1f\x8b": ".gz"}
    (work / "Packages").write_bytes(data)
    catalogue.build(work / "Packages", forms.get(data[:2], ""), work / "catalogue")
    with closing(catalogue.Catalogue(work / "catalogue", "fuzz").read()) as reader:
        for name in reader.names(""):
            reader.named(name)


def yamls() -> list[bytes]:
    return [path.read_bytes() for path in sorted((ROOT / "examples").glob("*.yml"))]


def read_yaml(data: bytes, work: Path) -> None:
    (work / "x.yml").write_bytes(data)
    load([work / "x.yml"], (), {"X": "y"})


def labels() -> list[bytes]:
    return [
        b'{"capabilities":["CAP_NET_ADMIN"],"binds":["/a:/b:ro"],"readonly":true,"pid":"host"}',
        b"capabilities:\n - all\nbinds:\n - /dev:/dev\nnet: host\ntmpfs:\n - /run:size=1m\n",
    ]


def read_label(data: bytes, _: Path) -> None:
    parse_label(data.decode("utf-8", "surrogateescape"), "fuzz")


def locks() -> list[bytes]:
    package = Deb("hello").package()
    made = Lock(
        suites=(LockedSuite("trixie", ("main",), NOW, "ab" * 32),),
        roots=(LockedRoot("system", ("hello",), (), "arm64", (package.key,)),),
        packages=(package,),
        images=(LockedImage("redis:7", "sha256:" + "cd" * 32, "sha256:" + "ef" * 32),),
    )
    return [render_lock(made).encode()]


def read_lock_text(data: bytes, _: Path) -> None:
    parse_lock(data, "fuzz")


def bmaps() -> list[bytes]:
    image = io.BytesIO(bytes(range(256)) * 64)
    return [bmap.encode(bmap.measure(image, 16384, [Extent(0, 4096), Extent(8192, 16384)]))]


def damaged_bmap(mutator: Mutator) -> bytes:
    """With the map's own checksum made anew, or nothing else would ever be looked at."""
    data = mutator.text()
    found = re.search(rb"<BmapFileChecksum>\s*([0-9a-f]+)", data)
    if found is None or mutator.chance.random() < 0.2:
        return data
    blank = data[: found.start(1)] + b"0" * len(found[1]) + data[found.end(1) :]
    return (
        data[: found.start(1)] + hashlib.sha256(blank).hexdigest().encode() + data[found.end(1) :]
    )


def read_bmap(data: bytes, _: Path) -> None:
    bmap.encode(bmap.decode(data, "fuzz"))


def dumps() -> list[bytes]:
    head = "     0  1  2  3  4  5  6  7  8  9  a  b  c  d  e  f    0123456789abcdef\n"
    row = " ".join(["6b", "XX", "00", "ff"] * 4)
    return [
        (head + "".join(f"{at:02x}: {row}    k...k...k...k...\n" for at in (0, 16))).encode(),
        b"     0,8  1,9  2,a  3,b  4,c  5,d  6,e  7,f\n"
        b"00: 0001 XXXX ffff 0000 1234 5678 9abc def0\n",
    ]


def read_dump(data: bytes, _: Path) -> None:
    parse_dump(data.decode("utf-8", "replace"))


def keys() -> list[bytes]:
    body = b"AAAAC3NzaC1lZDI1NTE5AAAAIHmqPKBDBcBbcNtpcyCDpWJhmnpnmkwlqGeWFhXtlKf3"
    return [b"ssh-ed25519 " + body + b" a@b", b'from="10.*" ssh-ed25519 ' + body]


def read_keys(data: bytes, _: Path) -> None:
    provision.Settings(ssh_keys=(data.decode("utf-8", "surrogateescape"),)).files()


def configs() -> list[bytes]:
    return [
        b"[pi4]\nkernel=kernel.img\ninitramfs initrd followkernel\narm_64bit=1\n[all]\n"
        b"dtoverlay=disable-bt\ndtparam=i2c_arm=on\ninclude more.txt\n[gpio4=1]\ngpio=1=op\n"
    ]


def read_config(data: bytes, _: Path) -> None:
    conditions = Conditions(tryboot=False, knows_tryboot=True)
    found = firmware_config.parse(data, "config.txt", conditions, lambda path: data)
    firmware_config.overlays_of(found)
    firmware_config.initramfs_of(found)


def dockerfiles() -> list[bytes]:
    return [b"ARG V=1\nFROM a/b:${V} AS x\nRUN true \\\n  && false\nFROM x\nCOPY --from=c:2 / /\n"]


def read_dockerfile(data: bytes, _: Path) -> None:
    dockerfile.base_images(data.decode("utf-8", "replace"), {"V": "2"}, "fuzz")


def references() -> list[bytes]:
    return [b"a.example:5000/team/app:1@sha256:" + b"ab" * 32, b"redis", b"a/b:c"]


def read_reference(data: bytes, _: Path) -> None:
    str(reference.parse(data.decode("utf-8", "surrogateescape")))


# --- cards and devices


@functools.cache
def trees() -> list[bytes]:
    text = b"""/dts-v1/; / { compatible = "a,b"; #address-cells = <1>; #size-cells = <1>;
      aliases { s = "/soc/x@1"; }; soc { ranges; x: x@1 { reg = <1 2>; p = <&y>; }; y: y { };
      }; };"""
    argv = ["dtc", "-@", "-q", "-I", "dts", "-O", "dtb"]
    return [subprocess.run(argv, input=text, check=True, capture_output=True).stdout]


def read_device_tree(data: bytes, _: Path) -> None:
    tree = fdt.read_tree(data, "fuzz")
    for node in tree.nodes():
        node.strings("compatible")
        node.cells("reg")
    assert tree.phandles is not None
    tree.find("s")


@functools.cache
def volumes() -> list[bytes]:
    found = []
    for size, bits in ((64, "12"), (5000, "16")):
        with tempfile.TemporaryDirectory() as name:
            path = Path(name) / "fat"
            words = ["-C", "-s", "1", "-F", bits, str(path), str(size)]
            subprocess.run(["mkfs.vfat", *words], check=True, capture_output=True)
            (Path(name) / "a long name.txt").write_bytes(b"hello" * 300)
            (Path(name) / "sub").mkdir()
            (Path(name) / "sub/config.txt").write_bytes(b"x=1\n")
            names = [f"{name}/a long name.txt", f"{name}/sub"]
            subprocess.run(["mcopy", "-s", "-i", str(path), *names, "::"], check=True)
            found.append(path.read_bytes()[: 64 << 10])
    return found


def read_fat(data: bytes, _: Path) -> None:
    reader = fat.FatReader(data, 0, len(data), "fuzz")
    reader.read("a long name.txt")
    reader.read("sub/config.txt")
    for name in reader.names():
        reader.names(name)


def sectors() -> list[bytes]:
    from tests.unit.flash.test_content import gpt, mbr  # pytest's own at the top

    return [mbr((0x0C, 1, 63), (0x83, 64, 9)), gpt(30, 63), volumes()[0][:2048], tars()[0][:2048]]


def read_sector(data: bytes, _: Path) -> None:
    content.require_card(data, len(data) * 64, "fuzz")


def images() -> list[bytes]:
    card = sectors()[0] + bytes(range(256)) * 200
    packed = [gzip.compress(card, mtime=0), lzma.compress(card, preset=0)]
    return [image + other for image in packed for other in (b"", image, bytes(8))]


def read_image(data: bytes, work: Path) -> None:
    (work / "x.img").write_bytes(data)
    found = source.find(work / "x.img")
    if found.packing != content.ZSTD:
        source.checked(found, RUNNER)


def frames() -> list[bytes]:
    argv = ["zstd", "-qc"]
    frame = subprocess.run(argv, input=b"x" * 3000, check=True, capture_output=True).stdout
    return [frame, frame + b"\x50\x2a\x4d\x18\x02\0\0\0hi" + frame, frame + bytes(9)]


def read_frames(data: bytes, work: Path) -> None:
    (work / "x").write_bytes(data)
    with (work / "x").open("rb") as stream:
        frames_end(stream)


def modules() -> list[bytes]:
    with tempfile.TemporaryDirectory() as name:
        place = '__attribute__((section(".modinfo"), used))'
        text = f'static const char i[] {place} = "name=x\\0vermagic=1";'
        (Path(name) / "x.c").write_text(text)
        argv = ["gcc", "-c", "-o", f"{name}/x.ko", f"{name}/x.c"]
        subprocess.run(argv, check=True, capture_output=True)
        made = bytearray((Path(name) / "x.ko").read_bytes())
        made[18:20] = (183).to_bytes(2, "little")  # e_machine: AArch64, whatever this host is
        return [bytes(made)]


def read_module(data: bytes, _: Path) -> None:
    read_modinfo(data, "fuzz")


def recipes() -> list[bytes]:
    line = {"size": 8192, "files": [[4096, 9, "0" * 64, 4608]], "literals": [[0, 4096]]}
    return [json.dumps(line).encode() + b"\n" + zlib.compress(delta(bytes(range(256)) * 16))]


def read_recipe(data: bytes, _: Path) -> None:
    found = recipe.parse(data)
    assert found.length >= 0


def bundles() -> list[bytes]:
    """A bundle whose signature nobody checks: behind it is what these inputs are for."""
    contents = {"layers": b"a", "recipe-2": b"recipe", "f0": bytes(range(256))}
    parts = [Part(name, len(c), hashlib.sha256(c).hexdigest()) for name, c in contents.items()]
    found = Description("pi4", "shed", (1, 2), "0" * 12, "n", "a" * 64, "b" * 64, tuple(parts))
    files = {swu.DESCRIPTION: swu.describe(found), swu.SIGNATURE: b"signature", **contents}
    data = b""
    for number, (name, text) in enumerate(files.items(), start=1):
        data += swu.header(number, name, len(text), sum(text))
        data += text + bytes(-len(text) % 4)
    return [data + swu.trailer()]


def read_bundle(data: bytes, _: Path) -> None:
    reader = swu.Reader(io.BytesIO(data))
    head = reader.head()
    reader.check(swu.parse_description(head.text))


def descriptions() -> list[bytes]:
    return [swu.Reader(io.BytesIO(bundles()[0])).head().text]


def read_description(data: bytes, _: Path) -> None:
    found = swu.parse_description(data)
    assert swu.parse_description(swu.describe(found)) == found


# --- settings on a card's first partition


def seeds_of_settings() -> list[bytes]:
    return [text.encode() for text in (USER_DATA, USER_DATA_1, NETWORK_CONFIG, META_DATA)]


def read_settings(data: bytes, work: Path) -> None:
    """Read the same bytes as each of the files; all that is wrong with them is a message."""
    for name in ("user-data", "network-config", "meta-data"):
        (work / name).write_bytes(data)
    image = work / "root/etc/piimage"
    image.mkdir(parents=True)
    (image / "wifi.conf").write_text("country=JP\n")
    for line in seed.apply(str(work), str(work / "root")):
        assert line.startswith(("say ", "remove ")), line


READERS: dict[str, Reader] = {
    "tar": Reader(tars, damaged_tar, read_archive, 120),
    "layer": Reader(layer_seeds, damaged_tar, read_layer, 60),
    "deb": Reader(debs, Mutator.binary, read_deb, 80),
    "cache": Reader(exports, damaged_tar, read_export, 10),
    "oci-archive": Reader(oci_archives, damaged_tar, read_oci_archive, 10),
    "oci": Reader(oci_documents, Mutator.text, read_oci_document, 80),
    "release": Reader(releases, Mutator.text, read_release, 80),
    "packages": Reader(packages, Mutator.text, read_packages, 20, (PiimageError, ValueError)),
    "yaml": Reader(yamls, Mutator.text, read_yaml, 20),
    "label": Reader(labels, Mutator.text, read_label, 20),
    "lock": Reader(locks, Mutator.text, read_lock_text, 40),
    "bmap": Reader(bmaps, damaged_bmap, read_bmap, 80),
    "i2cdump": Reader(dumps, Mutator.text, read_dump, 60, (DumpError,)),
    "authorized-keys": Reader(keys, Mutator.text, read_keys, 60),
    "user-data": Reader(seeds_of_settings, Mutator.text, read_settings, 40),
    "config.txt": Reader(configs, Mutator.text, read_config, 40),
    "dockerfile": Reader(dockerfiles, Mutator.text, read_dockerfile, 40),
    "reference": Reader(references, Mutator.text, read_reference, 40),
    "device-tree": Reader(trees, Mutator.binary, read_device_tree, 80),
    "fat": Reader(volumes, Mutator.binary, read_fat, 40),
    "mbr": Reader(sectors, Mutator.binary, read_sector, 80),
    "image": Reader(images, Mutator.binary, read_image, 20),
    "zstd": Reader(frames, Mutator.binary, read_frames, 40, (PiimageError, ValueError, EOFError)),
    "module": Reader(modules, Mutator.binary, read_module, 40),
    "recipe": Reader(recipes, Mutator.binary, read_recipe, 40, (Refused,)),
    "bundle": Reader(bundles, Mutator.binary, read_bundle, 40),
    "sw-description": Reader(descriptions, Mutator.text, read_description, 40),
    "wheel": Reader(wheels, damaged_wheel, read_wheel, 20),
}
