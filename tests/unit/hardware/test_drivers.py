from __future__ import annotations

import io
import lzma
import tarfile
import zlib

import pytest

from piimage.hardware.drivers import Driver, Drivers, KernelDrivers, open_supply, tables
from piimage.kernel.package import UnpackedKernel
from piimage.run import Runner
from piimage.steps import Job
from piimage.store import Store
from tests.unit.kernel.elf import module

from .trees import drivers, tree


def entry(compatible: str, name: str = "") -> bytes:
    """Return a struct of_device_id with its pointer, in the layout of the compiler."""
    return name.encode().ljust(64, b"\0") + compatible.encode().ljust(128, b"\0") + b"\x12" * 8


def test_the_tables_of_an_image_are_told_from_other_text() -> None:
    image = (
        b"\x34" * 9
        + entry("maker,first")
        + entry("maker,second")
        + bytes(200)
        + b"text with maker,third\0"
        + bytes(300)
        + b"of_fourth\0"
        + b"and_more\0"
        + bytes(99)
        + entry("maker,named", name="serial")
    )
    assert tables(image) == {"maker,first", "maker,second"}


def test_a_table_at_the_end_of_an_image_is_read() -> None:
    assert tables(b"\x34" + entry("a,b")[:-8]) == {"a,b"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mmc0", Driver("mmc", False)),
        ("gpio", Driver("gpio", True)),
        ("fixed", Driver("", True)),
        ("bridge/chip@1", Driver("chip", False)),
        ("usb/hub@1", Driver("usbcore", True)),
        ("usb/hub@1/port@1", Driver("lan78xx", False)),
        ("left", None),
        ("card_pins", None),
    ],
)
def test_a_device_gets_the_driver_that_the_kernel_has_for_it(
    name: str, expected: Driver | None
) -> None:
    node = tree().find(name)
    assert node is not None
    assert drivers().of_node(node) == (() if expected is None else (expected,))


def test_the_more_special_name_wins() -> None:
    node = tree().find("mmc0")
    assert node is not None
    both = Drivers(["new of:N*T*Cmaker,new-mmc", "old of:N*T*Cmaker,mmc"], [], [])
    assert both.of_node(node) == (Driver("new", False),)


def test_modules_are_found_by_name_however_it_is_written() -> None:
    known = Drivers(["i2c_dev"], ["usbcore"], [])
    assert known.named("i2c-dev") == (Driver("i2c_dev", False),)
    assert known.named("usbcore") == (Driver("usbcore", True),)
    assert known.named("nothing") == ()


def test_a_kernel_is_read_once_for_all_that_it_says(store: Store) -> None:
    job, kernel, step = made(store)
    known = Drivers.made(Job(store, Runner(), lambda _: None, job.made), step)
    assert known.of_alias("usb:v0424p7800d0300dc00dsc00dp00ic00isc00ip00in00") == (
        Driver("lan78xx", False),
    )
    assert known.of_alias("fs-fuse") == (Driver("fuse", True),)
    assert known.named("fuse") == (Driver("fuse", True),)
    with open_supply(job, kernel) as supply:
        assert supply.names == ["lan78xx"]


def made(store: Store) -> tuple[Job, UnpackedKernel, KernelDrivers]:
    """Return a kernel with one module and one built-in driver, and its made step."""
    kernel = UnpackedKernel((), ())
    step = KernelDrivers(kernel)
    lan = module(name="lan78xx", alias=["usb:v0424p7800d*dc*dsc*dp*ic*isc*ip*in*"])
    folder = "usr/lib/modules/6.12.1"
    files = {
        f"{folder}/kernel/lan78xx.ko.xz": lzma.compress(lan),
        f"{folder}/modules.builtin": b"kernel/fs/fuse/fuse.ko\n",
        f"{folder}/modules.builtin.modinfo": b"fuse.license=GPL\0fuse.alias=fs-fuse\0",
    }
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    outputs = {
        "modules": store.add_bytes(out.getvalue()),
        "release": store.add_bytes(b"6.12.1"),
        "image": store.add_bytes(zlib.compress(b"\x34" + entry("a,b"), wbits=31)),
    }
    before = Job(store, Runner(), lambda _: None, {kernel.key: outputs})
    result = step.make(before)
    assert (store.path(result["image"])).read_text() == "a,b\n"
    return Job(store, Runner(), before.emit, {**before.made, step.key: result}), kernel, step
