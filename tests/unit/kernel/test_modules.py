from __future__ import annotations

import io
import lzma
import tarfile

import pytest

from piimage.errors import ErrorGroup, InputError, PiimageError
from piimage.kernel.modules import Supply

from .elf import module

RELEASE = "6.12.1"
MAGIC = "6.12.1 SMP aarch64"
FOLDER = f"usr/lib/modules/{RELEASE}"


def supply(builtin: str = "", **depends: str) -> Supply:
    """A kernel whose modules are the names given, each with what it depends on."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        files = {"modules.builtin": builtin.encode()}
        for name, needs in depends.items():
            data = module(name=name, vermagic=MAGIC, depends=needs)
            files[f"kernel/{name.replace('_', '-')}.ko.xz"] = lzma.compress(data)
        for name, content in files.items():
            info = tarfile.TarInfo(f"{FOLDER}/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return supply_of(out)


def supply_of(archive: io.BytesIO) -> Supply:
    archive.seek(0)
    return Supply(tarfile.open(fileobj=archive), RELEASE)


def test_modules_come_after_what_they_depend_on() -> None:
    kernel = supply(ext4="jbd2,mbcache", jbd2="crc16", mbcache="", crc16="", loop="")
    assert kernel.load_order(["loop", "ext4"]) == ("loop", "crc16", "jbd2", "mbcache", "ext4")


def test_what_is_built_in_needs_no_module() -> None:
    kernel = supply("kernel/lib/crc16.ko\n", ext4="crc16")
    assert kernel.load_order(["ext4", "crc16"]) == ("ext4",)


def test_names_may_be_written_either_way() -> None:
    assert supply(i2c_dev="").load_order(["i2c-dev"]) == ("i2c_dev",)


def test_modules_are_laid_out_uncompressed() -> None:
    kernel = supply(i2c_dev="")
    assert list(kernel.files(["i2c_dev"])) == [f"{FOLDER}/kernel/i2c-dev.ko"]


@pytest.mark.provokes("kernel.unknown-module")
def test_every_unknown_module_is_named_with_the_nearest_known_one() -> None:
    with pytest.raises(ErrorGroup) as caught:
        supply(i2c_dev="", loop="").load_order(["i2c-dew", "frobnicate"])
    first, second = caught.value.errors
    assert str(first) == "the kernel 6.12.1 has no module i2c_dew; did you mean i2c_dev?"
    assert "frobnicate" in str(second)


def test_a_module_built_out_of_tree_lies_under_updates() -> None:
    kernel = supply(loop="")
    kernel.add_extra("i2c-stub.ko", module(name="i2c_stub", vermagic=MAGIC, depends=""))
    assert kernel.load_order(["i2c-stub"]) == ("i2c_stub",)
    assert kernel.path("i2c_stub") == f"{FOLDER}/updates/i2c-stub.ko"


@pytest.mark.provokes("kernel.vermagic")
def test_a_module_for_another_kernel_is_refused_with_both_versions() -> None:
    kernel = supply(loop="")
    with pytest.raises(InputError) as caught:
        kernel.add_extra("x.ko", module(name="x", vermagic="6.1.0 SMP aarch64"))
    assert "6.1.0 SMP aarch64" in str(caught.value)
    assert MAGIC in str(caught.value)


@pytest.mark.provokes("kernel.bad-module")
def test_a_damaged_module_is_named() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo(f"{FOLDER}/kernel/loop.ko.xz")
        info.size = 4
        archive.addfile(info, io.BytesIO(b"junk"))
    with pytest.raises(PiimageError, match=r"loop\.ko\.xz: damaged module"):
        supply_of(out).load_order(["loop"])
