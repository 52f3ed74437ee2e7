"""Boot chains as data: the stages that run on a Pi before the kernel.

They are the boot ROM, bootcode.bin or the EEPROM, and start*.elf. The rules name these sources:

* *documentation*: Raspberry Pi's documentation, "config.txt" (boot options, memory options,
  conditional filters, autoboot.txt), "boot sequence", "EEPROM boot flow", "revision codes".
* *release notes*: rpi-eeprom's firmware-2711/release-notes.md and firmware-2712/release-notes.md.
* *pull request*: the notes of a version in rpi-eeprom's pull requests.
* *binary*: seen in bootcode.bin and start4.elf of Debian's raspi-firmware 1.20240424, and in
  EEPROM images of 2021-04-29 and 2022-04-26.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

MIB: Final = 1 << 20


@dataclass(frozen=True)
class Pair:
    """A firmware file and its matching table of fix-ups; others do not start (documentation)."""

    start: str
    fixup: str


@dataclass(frozen=True)
class StartFiles:
    """The pairs that the stage before start*.elf can load."""

    plain: Pair
    cut_down: Pair
    """Used for less than `PLAIN_GPU_MEM` MiB of GPU memory, without a fallback (binary)."""
    extended: Pair
    """Used with start_x=1."""
    debug: Pair
    """Used with start_debug=1."""


@dataclass(frozen=True)
class Loader:
    """A version of the boot loader, as in the EEPROM of Pis that were sold at some time."""

    title: str
    since: datetime.date = datetime.date.min
    """The date of the first such version."""
    knows_tryboot: bool = True
    """Whether it knows the filter [tryboot]; an old version ignores only that line (binary)."""
    walks: bool = True
    """Whether it looks for another bootable partition if the selected one is not bootable: the
    default of PARTITION_WALK (pull requests 659, 663, 736, 737)."""


@dataclass(frozen=True)
class Chain:
    """The stages from the boot ROM to the kernel."""

    title: str
    selects_partition: bool
    """Whether boot_partition in autoboot.txt selects the partition."""
    loaders: tuple[Loader, ...]
    """The versions of the boot loader that are in use; the first is the present one."""
    second_stage: str | None = None
    """The file that the boot ROM loads from the first FAT partition that has it."""
    start_files: StartFiles | None = None
    """None if the EEPROM holds all of the firmware."""
    bootable_by: str = "config.txt"
    """The file that makes a partition bootable (documentation: PARTITION_WALK)."""
    kernel: str = "kernel8.img"
    """The default of `kernel` in config.txt."""
    arm_64bit: bool = True
    """The default of `arm_64bit` in config.txt."""
    checks_os: bool = False
    """Whether a partition without `default_tree` is skipped, unless os_check=0."""
    default_tree: str | None = None
    """The device tree that the firmware expects if it `checks_os`."""
    steppings: Mapping[str, str] = field(default_factory=dict)
    """By stepping: the overlay that the firmware applies to the device tree by itself."""

    @property
    def is_pi(self) -> bool:
        """Whether a Pi's firmware reads the card; otherwise an emulator does, without limits."""
        return self.start_files is not None or self.checks_os

    def loader_of(self, date: datetime.date | None) -> Loader:
        """Return the version of the boot loader that is in an EEPROM of `date`, or the present."""
        known = (loader for loader in self.loaders if date is None or loader.since <= date)
        return next(known, self.loaders[-1])


PLAIN_GPU_MEM: Final = 32
"""The least GPU memory, in MiB, for the plain files (binary: bootcode.bin at 0x6576)."""
GPU_MEM_DEFAULT: Final = 64
"""The default in MiB if the Pi has less than 1 GiB (documentation: gpu_mem)."""
GPU_MEM_DEFAULT_1024: Final = 76
GPU_MEM_LEAST: Final = 16
ARM_LEAST: Final = 64
"""The least memory for the processor, in MiB (binary: min(total - 64, gpu_mem))."""
GPU_REACH: Final = 1024
"""The memory that the GPU can address, in MiB; its memory is below (documentation: gpu_mem)."""
SECOND_STAGE_BYTES: Final = 128 * 1024
"""The boot ROM loads bootcode.bin into a cache of 128 KiB (documentation: boot sequence)."""
KERNEL_ADDRESS: Final = 0x200000
"""The load address of a 64-bit kernel (documentation: kernel_address)."""
UNPACKED_KERNEL_BYTES: Final = 256 * MIB
"""The maximum size of an unpacked gzip kernel (binary: start4.elf)."""

_WALKING: Final = datetime.date(2025, 8, 13)
_TRYING: Final = datetime.date(2022, 11, 25)
_ROM: Final = Loader("present boot loader", walks=False)
_CURRENT: Final = Loader("present boot loader", since=_WALKING)
_BEFORE_WALKS: Final = Loader("EEPROMs before 2025-08-13", walks=False)
_OLD_2711: Final = (
    Loader("EEPROMs before 2025-08-13", since=_TRYING, walks=False),
    Loader("EEPROMs before 2022-11-25", knows_tryboot=False, walks=False),
)

CHAINS: Final[Mapping[str, Chain]] = {
    "bcm2837": Chain(
        title="boot ROM, bootcode.bin and start.elf of BCM2837",
        selects_partition=False,
        loaders=(_ROM,),
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
        title="EEPROM and start4.elf of BCM2711",
        selects_partition=True,
        loaders=(_CURRENT, *_OLD_2711),
        bootable_by="start4.elf",
        start_files=StartFiles(
            plain=Pair("start4.elf", "fixup4.dat"),
            cut_down=Pair("start4cd.elf", "fixup4cd.dat"),
            extended=Pair("start4x.elf", "fixup4x.dat"),
            debug=Pair("start4db.elf", "fixup4db.dat"),
        ),
    ),
    "bcm2712": Chain(
        title="EEPROM of BCM2712",
        selects_partition=True,
        loaders=(_CURRENT, _BEFORE_WALKS),
        kernel="kernel_2712.img",
        checks_os=True,
        default_tree="bcm2712-rpi-5-b.dtb",
        steppings={"d0": "bcm2712d0"},
    ),
    "none": Chain(
        title="no firmware: the emulator loads the kernel",
        selects_partition=True,
        loaders=(_CURRENT, _BEFORE_WALKS),
    ),
}
"""The boot chains by their names in `firmware: chain:` of boards."""
