"""The names of the files that the stages before the kernel load, copied from their sources."""

from __future__ import annotations

import pytest

from piimage.firmware.chains import CHAINS


@pytest.mark.parametrize(
    ("chain", "kernel", "arm_64bit"),
    [
        ("bcm2837", "kernel8.img", False),
        ("bcm2711", "kernel8.img", True),
        ("bcm2712", "kernel_2712.img", True),
    ],
)
def test_the_default_kernel(chain: str, kernel: str, arm_64bit: bool) -> None:
    """Documentation, "config.txt", kernel and arm_64bit."""
    assert (CHAINS[chain].kernel, CHAINS[chain].arm_64bit) == (kernel, arm_64bit)


@pytest.mark.parametrize(
    ("chain", "pairs"),
    [
        (
            "bcm2837",
            "start.elf fixup.dat start_cd.elf fixup_cd.dat start_x.elf fixup_x.dat "
            "start_db.elf fixup_db.dat",
        ),
        (
            "bcm2711",
            "start4.elf fixup4.dat start4cd.elf fixup4cd.dat start4x.elf fixup4x.dat "
            "start4db.elf fixup4db.dat",
        ),
    ],
)
def test_the_pairs_of_firmware_files(chain: str, pairs: str) -> None:
    """Documentation, "boot folder contents"; the names are those of Debian's raspi-firmware."""
    files = CHAINS[chain].start_files
    assert files is not None
    kinds = (files.plain, files.cut_down, files.extended, files.debug)
    assert [name for pair in kinds for name in (pair.start, pair.fixup)] == pairs.split()


def test_the_differences_between_the_chains() -> None:
    """Documentation, "boot sequence" and os_check; the first stepping of BCM2712 has no overlay."""
    assert [name for name, chain in CHAINS.items() if chain.second_stage] == ["bcm2837"]
    assert CHAINS["bcm2837"].second_stage == "bootcode.bin"
    assert [name for name, chain in CHAINS.items() if chain.checks_os] == ["bcm2712"]
    assert CHAINS["bcm2712"].default_tree == "bcm2712-rpi-5-b.dtb"
    assert CHAINS["bcm2712"].steppings == {"d0": "bcm2712d0"}
    assert [name for name, chain in CHAINS.items() if chain.is_pi] == [
        *("bcm2837", "bcm2711", "bcm2712"),
    ]
