from __future__ import annotations

import io
import lzma
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from piimage.errors import ErrorGroup, InputError, PiimageError
from piimage.kernel.modules import ModuleTree, Supply
from piimage.kernel.package import KernelParts, UnpackedKernel
from piimage.run import Runner
from piimage.steps import Builder, Job
from piimage.store import Store
from piimage.trees import Entry, file, read_tar

from .elf import module

RELEASE = "6.12.1"
MAGIC = "6.12.1 SMP aarch64"
FOLDER = f"usr/lib/modules/{RELEASE}"


def supply(builtin: str = "", **depends: str) -> Supply:
    """Return a kernel with the modules in `depends`, each with its dependencies."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        files = {"modules.builtin": builtin.encode()}
        for name, dependencies in depends.items():
            data = module(name=name, vermagic=MAGIC, depends=dependencies)
            files[f"kernel/{name.replace('_', '-')}.ko.xz"] = lzma.compress(data)
        for name, content in files.items():
            info = tarfile.TarInfo(f"{FOLDER}/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return supply_of(out)


def supply_of(archive: io.BytesIO) -> Supply:
    archive.seek(0)
    return Supply(tarfile.open(fileobj=archive), RELEASE)


def test_modules_come_after_their_dependencies() -> None:
    kernel = supply(ext4="jbd2,mbcache", jbd2="crc16", mbcache="", crc16="", loop="")
    assert kernel.load_order(["loop", "ext4"]) == ("loop", "crc16", "jbd2", "mbcache", "ext4")


def test_a_built_in_module_is_not_loaded() -> None:
    kernel = supply("kernel/lib/crc16.ko\n", ext4="crc16")
    assert kernel.load_order(["ext4", "crc16"]) == ("ext4",)


def test_names_may_have_hyphens_or_underscores() -> None:
    assert supply(i2c_dev="").load_order(["i2c-dev"]) == ("i2c_dev",)


def test_modules_are_stored_uncompressed() -> None:
    kernel = supply(i2c_dev="")
    assert list(kernel.files(["i2c_dev"])) == [f"{FOLDER}/kernel/i2c-dev.ko"]


@dataclass(frozen=True)
class SmallKernel(KernelParts):
    """A kernel with the modules of an image on a USB disk, each with its dependencies."""

    device_trees: tuple[str, ...] = ()
    modules: tuple[tuple[str, str], ...] = (
        ("ext4", "crc16"),
        ("crc16", ""),
        ("usb_storage", "usbcore"),
        ("dwc2", "usbcore"),
        ("usbcore", "crc16"),
        ("cdc_ether", "usbcore"),
    )

    def entries(self, job: Job) -> Iterator[Entry]:
        yield file("boot/vmlinuz-6.12.1", b"\0" * 0x38 + b"ARM\x64")
        yield file(f"{FOLDER}/modules.builtin", b"")
        for name, depends in self.modules:
            data = module(name=name, vermagic=MAGIC, depends=depends, parmtype="quirks:string")
            yield file(f"{FOLDER}/kernel/{name}.ko", data)


def test_the_modules_of_other_disks_are_in_the_initramfs_and_in_a_separate_list(
    store: Store,
) -> None:
    tree = ModuleTree(
        SmallKernel(),
        ("ext4",),
        ("dwc2", "cdc_ether"),
        params={"usb-storage": {"quirks": "152d:0578:u"}},
        other_disks=("dwc2", "usb-storage"),
    )
    job = Builder(store, Runner()).build(tree)

    def listed(output: str) -> list[str]:
        return [line.rpartition("/")[2] for line in job.file(tree, output).read_text().splitlines()]

    assert listed("boot-order") == ["crc16.ko", "ext4.ko"]
    other = ["usbcore.ko", "dwc2.ko", "usb_storage.ko quirks=152d:0578:u"]
    assert listed("other-disks-order") == other
    # A Pi that booted from its card has not loaded the modules of other disks.
    assert listed("late-order") == ["usbcore.ko", "dwc2.ko", "cdc_ether.ko"]
    with job.file(tree, "boot").open("rb") as stream:
        names = {entry.path.rpartition("/")[2] for entry in read_tar(stream, "boot")}
    assert names == {"crc16.ko", "ext4.ko", "usbcore.ko", "dwc2.ko", "usb_storage.ko"}


def test_modules_that_the_kernel_asks_for_are_there_and_in_no_list(store: Store) -> None:
    tree = ModuleTree(SmallKernel(), ("crc16",), (), on_demand=("ext4",))
    job = Builder(store, Runner()).build(tree)
    with job.file(tree, "tree").open("rb") as stream:
        names = {entry.path.rpartition("/")[2] for entry in read_tar(stream, "tree")}
    assert {"crc16.ko", "ext4.ko"} <= names
    for output in ("boot-order", "other-disks-order", "late-order"):
        assert "ext4" not in job.file(tree, output).read_text()


@pytest.mark.provokes("kernel.unknown-module")
def test_every_unknown_module_is_reported_with_a_similar_name() -> None:
    with pytest.raises(ErrorGroup) as caught:
        supply(i2c_dev="", loop="").load_order(["i2c-dew", "frobnicate"])
    first, second = caught.value.errors
    assert str(first) == "the kernel 6.12.1 has no module i2c_dew; did you mean i2c_dev?"
    assert "frobnicate" in str(second)


def test_a_module_built_out_of_tree_is_under_updates() -> None:
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
    with pytest.raises(PiimageError, match=r"loop\.ko\.xz: the module is damaged"):
        supply_of(out).load_order(["loop"])


@pytest.mark.provokes("kernel.built-in")
def test_a_module_with_the_name_of_a_built_in_module_is_refused() -> None:
    kernel = supply("kernel/drivers/spi/spidev.ko\n", loop="")
    with pytest.raises(InputError, match="spidev is built into the kernel"):
        kernel.add_extra("spidev.ko", module(name="spidev", vermagic=MAGIC))


def test_a_module_built_out_of_tree_wins_over_the_kernels_own() -> None:
    kernel = supply(loop="")
    own = module(name="loop", vermagic=MAGIC, depends="")
    kernel.add_extra("loop.ko", own)
    assert kernel.files(["loop"]) == {f"{FOLDER}/updates/loop.ko": own}


@pytest.mark.provokes("kernel.symbol-version")
def test_a_module_built_against_other_symbols_is_refused_with_both_versions() -> None:
    kernel = supply(loop="")
    versions = {"module_layout": 0x1234, "gone": 1, "printk": 2}
    kernel.add_extra("x.ko", module(versions=versions, name="x", vermagic=MAGIC))
    with pytest.raises(InputError) as caught:
        kernel.check_symbols("0x00005678\tmodule_layout\tvmlinux\tE\n0x2\tprintk\tvmlinux\tE\n")
    assert caught.value.message.splitlines() == [
        "built for 6.12.1, the module does not match the kernel 6.12.1:",
        "  gone: the kernel does not export it",
        "  module_layout: built with version 0x00001234, the kernel has 0x00005678",
    ]


def test_symbols_of_another_module_out_of_tree_are_not_checked() -> None:
    kernel = supply(loop="")
    kernel.add_extra("a.ko", module(versions={}, name="a", vermagic=MAGIC))
    kernel.add_extra("b.ko", module(versions={"a_do": 7}, name="b", vermagic=MAGIC, depends="a"))
    kernel.check_symbols("")
    assert kernel.load_order(["b"]) == ("a", "b")


@pytest.mark.provokes("kernel.bad-symbols")
def test_an_invalid_list_of_symbols_is_refused() -> None:
    with pytest.raises(PiimageError, match="line 1 is not a symbol"):
        supply(loop="").check_symbols("junk")


@pytest.mark.provokes("kernel.unknown-parameter")
def test_a_parameter_that_a_module_does_not_have_is_named() -> None:
    kernel = supply(loop="")
    own = module(name="x", vermagic=MAGIC, parmtype="whom:charp")
    kernel.add_extra("x.ko", own)
    assert list(kernel.refused("x", ["whom"])) == []
    (error,) = kernel.refused("x", ["who"])
    assert str(error) == "modules.x: the module x has no parameter who; its parameters are: whom"


def test_parameters_follow_the_path_on_its_line() -> None:
    kernel = UnpackedKernel((), ())
    tree = ModuleTree(kernel, (), (), params={"i2c-stub": {"chip_addr": "3,4", "whom": "a b"}})
    assert (
        tree.lines(supply(loop="", i2c_stub=""), ["loop", "i2c_stub"])
        == (
            f'/{FOLDER}/kernel/loop.ko\n/{FOLDER}/kernel/i2c-stub.ko chip_addr=3,4 whom="a b"\n'
        ).encode()
    )
