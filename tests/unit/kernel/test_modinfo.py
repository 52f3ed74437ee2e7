from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piimage.errors import PiimageError
from piimage.kernel.modinfo import normal_name, read_modinfo
from tests.examples import examples

from .elf import module

I2C = module(
    name="i2c_dev", vermagic="6.12.1 SMP aarch64", depends="i2c-core,regmap",
    softdep="pre: crc32c post: late", parmtype="bus:int",
)  # fmt: skip


def test_name_version_and_dependencies_of_a_module_are_read() -> None:
    info = read_modinfo(I2C, "i2c-dev.ko")
    assert info.name == "i2c_dev"
    assert info.vermagic == "6.12.1 SMP aarch64"
    assert info.depends == ("i2c_core", "regmap")
    assert info.soft_before == ("crc32c",)
    assert info.parameters == ("bus",)


def test_the_default_name_is_that_of_the_file() -> None:
    assert read_modinfo(module(depends=""), "drivers/i2c-dev.ko").name == "i2c_dev"


@pytest.mark.parametrize(
    ("path", "name"),
    [("a/b/i2c-dev.ko.xz", "i2c_dev"), ("loop.ko", "loop"), ("sdhci-iproc", "sdhci_iproc")],
)
def test_names_have_the_kernels_form(path: str, name: str) -> None:
    assert normal_name(path) == name


@pytest.mark.provokes("kernel.bad-module")
def test_a_module_of_another_architecture_is_refused_with_its_machine() -> None:
    with pytest.raises(PiimageError, match=r"x\.ko: this is not a kernel module .*machine 62"):
        read_modinfo(module(machine=62), "x.ko")


@pytest.mark.provokes("kernel.bad-module")
@pytest.mark.parametrize("data", [b"", b"\x7fELF", I2C[:100], b"\x7fELF\x01\x01" + I2C[6:]])
def test_a_file_that_is_not_a_module_is_refused(data: bytes) -> None:
    with pytest.raises(PiimageError, match="not a kernel module"):
        read_modinfo(data, "x.ko")


@settings(max_examples=examples(300))
@given(st.integers(0, len(I2C) - 1), st.binary(min_size=1, max_size=9))
def test_a_damaged_module_is_read_or_refused(at: int, noise: bytes) -> None:
    data = bytearray(I2C)
    data[at : at + len(noise)] = noise
    try:
        read_modinfo(bytes(data), "x.ko")
    except PiimageError as error:
        assert error.code == "kernel.bad-module"
