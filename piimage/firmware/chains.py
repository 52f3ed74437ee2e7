"""What runs on a Pi before the kernel, as data: boot ROM, bootcode.bin or EEPROM, start*.elf.

Sources, by the names that the rules give them:

* *documentation*: Raspberry Pi's documentation, "config.txt" (boot options, memory options,
  conditional filters, autoboot.txt), "boot sequence", "EEPROM boot flow", "revision codes".
* *release notes*: rpi-eeprom's firmware-2711/release-notes.md and firmware-2712/release-notes.md.
* *binary*: seen in bootcode.bin and start4.elf of Debian's raspi-firmware 1.20240424, and in
  EEPROM images of 2021-04-29 and 2022-04-26.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

MIB: Final = 1 << 20


@dataclass(frozen=True)
class Pair:
    """A firmware file and its table of fix-ups; unmatched ones do not start (documentation)."""

    start: str
    fixup: str


@dataclass(frozen=True)
class StartFiles:
    """Which pair the stage before start*.elf looks for."""

    plain: Pair
    cut_down: Pair
    """Taken for less than `PLAIN_GPU_MEM` MiB of GPU memory; there is no fall-back (binary)."""
    extended: Pair
    """Taken with start_x=1."""
    debug: Pair
    """Taken with start_debug=1."""


@dataclass(frozen=True)
class Loader:
    """An age of the boot loader: what was in the EEPROM of Pis that were sold then."""

    title: str
    knows_tryboot: bool = True
    """Whether it knows the filter [tryboot]; an older one passes over the line alone (binary)."""


@dataclass(frozen=True)
class Chain:
    """One way from the boot ROM to the kernel."""

    title: str
    selects_partition: bool
    """Whether it obeys boot_partition of autoboot.txt."""
    loaders: tuple[Loader, ...]
    """The ages of the boot loader that are in use; the first is today's."""
    second_stage: str | None = None
    """The file that the boot ROM loads from the first FAT partition that has it."""
    start_files: StartFiles | None = None
    """None where the EEPROM holds all of the firmware."""
    kernel: str = "kernel8.img"
    """The kernel that is loaded when config.txt names none."""
    arm_64bit: bool = True
    """Whether the kernel starts in 64-bit mode when config.txt says nothing."""
    checks_os: bool = False
    """Whether a partition without a device tree for the Pi is passed over, unless os_check=0."""
    default_tree: str | None = None
    """The device tree that `checks_os` looks for."""
    steppings: Mapping[str, str] = field(default_factory=dict)
    """The overlay that the firmware lays over the tree by itself, for a stepping."""

    @property
    def is_pi(self) -> bool:
        """Whether a Pi's firmware reads the card; else an emulator does, which has no limits."""
        return self.start_files is not None or self.checks_os


PLAIN_GPU_MEM: Final = 32
"""MiB of GPU memory from which on the plain files are taken (binary: bootcode.bin at 0x6576)."""
GPU_MEM_DEFAULT: Final = 64
"""MiB when config.txt says nothing and the Pi has less than 1 GiB (documentation: gpu_mem)."""
GPU_MEM_DEFAULT_1024: Final = 76
GPU_MEM_LEAST: Final = 16
ARM_LEAST: Final = 64
"""MiB that stay for the processor, whatever gpu_mem asks for (binary: min(total - 64, gpu_mem))."""
GPU_REACH: Final = 1024
"""MiB that the GPU reaches: it takes its memory from below here (documentation: gpu_mem)."""
SECOND_STAGE_BYTES: Final = 128 * 1024
"""The boot ROM loads bootcode.bin into a cache of 128 KiB (documentation: boot sequence)."""
KERNEL_ADDRESS: Final = 0x200000
"""Where a 64-bit kernel is loaded (documentation: kernel_address)."""
UNPACKED_KERNEL_BYTES: Final = 256 * MIB
"""What a gzip kernel may unpack to (binary: start4.elf)."""

_CURRENT: Final = Loader("today's boot loader")
_OLD_2711: Final = Loader("EEPROMs before 2022-11-25", knows_tryboot=False)

CHAINS: Final[Mapping[str, Chain]] = {
    "bcm2837": Chain(
        title="boot ROM, bootcode.bin and start.elf of BCM2837 (3, Zero 2 W)",
        selects_partition=False,
        loaders=(_CURRENT,),
        second_stage="bootcode.bin",
        start_files=StartFiles(
            plain=Pair("start.elf", "fixup.dat"),
            cut_down=Pair("start_cd.elf", "fixup_cd.dat"),
            extended=Pair("start_x.elf", "fixup_x.dat"),
            debug=Pair("start_db.elf", "fixup_db.dat"),
        ),
        arm_64bit=False,
    ),
    "bcm2711": Chain(
        title="EEPROM and start4.elf of BCM2711 (4, 400, CM4)",
        selects_partition=True,
        loaders=(_CURRENT, _OLD_2711),
        start_files=StartFiles(
            plain=Pair("start4.elf", "fixup4.dat"),
            cut_down=Pair("start4cd.elf", "fixup4cd.dat"),
            extended=Pair("start4x.elf", "fixup4x.dat"),
            debug=Pair("start4db.elf", "fixup4db.dat"),
        ),
    ),
    "bcm2712": Chain(
        title="EEPROM of BCM2712 (5, 500, CM5)",
        selects_partition=True,
        loaders=(_CURRENT,),
        kernel="kernel_2712.img",
        checks_os=True,
        default_tree="bcm2712-rpi-5-b.dtb",
        steppings={"d0": "bcm2712d0"},
    ),
    "none": Chain(
        title="no firmware of a Pi: the emulator loads the kernel",
        selects_partition=True,
        loaders=(_CURRENT,),
    ),
}
"""By the name that a board's `firmware.chain` gives."""
