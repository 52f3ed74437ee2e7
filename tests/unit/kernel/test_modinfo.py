from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piimage.errors import PiimageError
from piimage.kernel.modinfo import normal_name, read_modinfo

from .elf import module

I2C = module(
    name="i2c_dev", vermagic="6.12.1 SMP aarch64", depends="i2c-core,regmap",
    softdep="pre: crc32c post: late", parmtype="bus:int",
)  # fmt: skip


def test_a_module_says_its_name_version_and_needs() -> None:
    info = read_modinfo(I2C, "i2c-dev.ko")
    assert info.name == "i2c_dev"
    assert info.vermagic == "6.12.1 SMP aarch64"
    assert info.depends == ("i2c_core", "regmap")
    assert info.soft_before == ("crc32c",)
    assert info.parameters == ("bus",)


def test_without_a_name_the_file_gives_it() -> None:
    assert read_modinfo(module(depends=""), "drivers/i2c-dev.ko").name == "i2c_dev"


@pytest.mark.parametrize(
    ("path", "name"),
    [("a/b/i2c-dev.ko.xz", "i2c_dev"), ("loop.ko", "loop"), ("sdhci-iproc", "sdhci_iproc")],
)
def test_names_are_as_the_kernel_knows_them(path: str, name: str) -> None:
    assert normal_name(path) == name


@pytest.mark.provokes("kernel.bad-module")
def test_a_module_of_another_architecture_is_refused_and_says_which() -> None:
    with pytest.raises(PiimageError, match=r"x\.ko: not a kernel module for arm64 .*machine 62"):
        read_modinfo(module(machine=62), "x.ko")


@pytest.mark.provokes("kernel.bad-module")
@pytest.mark.parametrize("data", [b"", b"\x7fELF", I2C[:100], b"\x7fELF\x01\x01" + I2C[6:]])
def test_what_is_no_module_is_refused(data: bytes) -> None:
    with pytest.raises(PiimageError, match="not a kernel module"):
        read_modinfo(data, "x.ko")


@settings(max_examples=300)
@given(st.integers(0, len(I2C) - 1), st.binary(min_size=1, max_size=9))
def test_a_damaged_module_gives_an_answer_or_one_clear_error(at: int, noise: bytes) -> None:
    data = bytearray(I2C)
    data[at : at + len(noise)] = noise
    try:
        read_modinfo(bytes(data), "x.ko")
    except PiimageError as error:
        assert error.code == "kernel.bad-module"
