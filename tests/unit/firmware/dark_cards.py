"""The content of four cards that no Pi booted: their texts, and the names of their other files.

They were built before the reader had the firmware's rules, and they booted in the emulator.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_HEAD: Final = """\
# Written by piimage; add to boot: in the YAML.
[all]
arm_64bit=1
enable_uart=1
disable_splash=1
"""
_FILES: Final = "kernel=kernel.img\ninitramfs initramfs.img followkernel\n"
_AUTOBOOT: Final = "[all]\ntryboot_a_b=1\nboot_partition=2\n[tryboot]\nboot_partition=3\n"
_CHOOSE_A: Final = "[all]\nos_prefix=a/\ngpu_mem=16\ninclude a/config.txt\n"
_PI3: Final = f"""\
{_HEAD}gpu_mem=16
{_FILES}device_tree=bcm2837-rpi-3-b.dtb
[all]
[pi3+]
device_tree=bcm2837-rpi-3-b-plus.dtb
[all]
[board-type=0xe]
device_tree=bcm2837-rpi-3-a-plus.dtb
[all]
dtoverlay=disable-bt
"""
_ZERO2W: Final = f"""\
{_HEAD}gpu_mem=16
{_FILES}device_tree=bcm2837-rpi-zero-2-w.dtb
dtoverlay=disable-bt
dtoverlay=free-header
"""
_PI4: Final = f"""\
{_HEAD}gpu_mem=16
{_FILES}device_tree=bcm2711-rpi-4-b.dtb
[all]
[pi400]
device_tree=bcm2711-rpi-400.dtb
[all]
[cm4]
device_tree=bcm2711-rpi-cm4-io.dtb
[all]
dtoverlay=disable-bt
"""
_PI5: Final = f"{_HEAD}os_check=0\n{_FILES}device_tree=bcm2712-rpi-5-b.dtb\n"

Partition = Mapping[str, str]
"""Path and text; a file that is not text has a word for its kind."""


def _slot(config: str, prefix: str, *names: str) -> dict[str, str]:
    files = {"config.txt": config, "cmdline.txt": "console=ttyAMA0,115200 quiet loglevel=3\n"}
    files |= {"kernel.img": "KERNEL", "initramfs.img": "INITRAMFS", "overlays/README": "overlays"}
    files |= {name: "OVERLAY" if name.startswith("overlays/") else "TREE" for name in names}
    return {prefix + name: content for name, content in files.items()}


_OLD: Final = {"bootcode.bin": "BOOTCODE", "start.elf": "FIRMWARE", "fixup.dat": "FIXUP"}
DARK: Final[Mapping[str, tuple[Partition, ...]]] = {
    "pi3": (
        {"config.txt": _CHOOSE_A, **_OLD}
        | _slot(
            _PI3,
            "a/",
            "bcm2837-rpi-3-b.dtb",
            "bcm2837-rpi-3-b-plus.dtb",
            "bcm2837-rpi-3-a-plus.dtb",
            "overlays/disable-bt.dtbo",
        ),
    ),
    "zero2w": (
        {"config.txt": _CHOOSE_A, **_OLD}
        | _slot(
            _ZERO2W,
            "a/",
            "bcm2837-rpi-zero-2-w.dtb",
            "overlays/disable-bt.dtbo",
            "overlays/free-header.dtbo",
        ),
    ),
    "pi4": (
        {"autoboot.txt": _AUTOBOOT},
        {"start4.elf": "FIRMWARE", "fixup4.dat": "FIXUP"}
        | _slot(
            _PI4,
            "",
            "bcm2711-rpi-4-b.dtb",
            "bcm2711-rpi-400.dtb",
            "bcm2711-rpi-cm4-io.dtb",
            "overlays/disable-bt.dtbo",
        ),
        {},
    ),
    "pi5": (
        {"autoboot.txt": _AUTOBOOT},
        _slot(_PI5, "", "bcm2712-rpi-5-b.dtb"),
        {},
    ),
}
"""By board: the FAT partitions of its card."""
