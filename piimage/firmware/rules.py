"""The rules of the firmware for a card, with their sources: data for documents and tests.

The reader (`loader`, `reader`) checks cards by these rules; `chains` describes the sources.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Rule:
    """One condition for a Pi's firmware to start the kernel of a card."""

    name: str
    code: str
    """The error for a card that breaks the rule."""
    text: str
    source: str


_FAT: Final = "FAT specification"
_BOOT: Final = "documentation: boot options"
_MEMORY: Final = "documentation: gpu_mem"

RULES: Final = (
    Rule(
        "FAT partition",
        "firmware.no-boot-partition",
        "The MBR has a FAT partition.",
        "documentation: boot sequence",
    ),
    Rule(
        "boot_partition",
        "firmware.no-boot-partition",
        "The partition that autoboot.txt names is a FAT partition.",
        "documentation: autoboot.txt",
    ),
    Rule(
        "bootable partition",
        "firmware.start-files",
        "The selected partition is bootable: it has start4.elf (BCM2711), or config.txt and a "
        "device tree (BCM2712). From 2025-08-13 on, the boot loader then looks for the next "
        "bootable partition, without autoboot.txt; before, it starts nothing, in a try too.",
        "documentation: PARTITION_WALK; rpi-eeprom, pull requests 659, 663, 736, 737",
    ),
    Rule(
        "length of autoboot.txt",
        "firmware.autoboot-too-long",
        "autoboot.txt has at most 512 bytes.",
        "documentation: autoboot.txt",
    ),
    Rule(
        "[tryboot] before 2022-11",
        "firmware.missing-file",
        "An EEPROM of BCM2711 from before 2022-11-25 ignores the line [tryboot] and reads the "
        "lines after it: autoboot.txt must not name the other slot while that slot is empty.",
        "binary: EEPROMs of 2021-04-29 and 2022-04-26; release notes: 2022-11-25",
    ),
    Rule("sectors", "firmware.fat-geometry", "FAT sectors have 512 bytes.", _FAT),
    Rule(
        "kind of FAT",
        "firmware.fat-geometry",
        "The number of clusters is not within 16 of the boundaries of FAT12, FAT16 and FAT32.",
        _FAT + ", section 3.5",
    ),
    Rule("FAT", "firmware.damaged-fat", "The FAT file system is undamaged.", _FAT),
    Rule(
        "bootcode.bin",
        "firmware.second-stage",
        "BCM2837: bootcode.bin is on the first FAT partition.",
        "documentation: boot sequence",
    ),
    Rule(
        "size of bootcode.bin",
        "firmware.second-stage",
        "bootcode.bin has at most 128 KiB.",
        "documentation: boot sequence",
    ),
    Rule(
        "cut-down firmware",
        "firmware.start-files",
        "With less than 32 MiB for the GPU, the Pi needs start_cd.elf and fixup_cd.dat (BCM2711: "
        "start4cd.elf and fixup4cd.dat); there is no fallback. This stage does not follow an "
        "include.",
        "binary: bootcode.bin at 0x6490, 0x6576, 0x6628; " + _MEMORY,
    ),
    Rule(
        "cut-down firmware by name",
        "firmware.start-files",
        "start_file does not name the cut-down firmware, which only gpu_mem=16 selects.",
        _BOOT,
    ),
    Rule(
        "start_x and start_debug",
        "firmware.start-files",
        "The files that start_x=1 and start_debug=1 need are on the card.",
        _BOOT,
    ),
    Rule(
        "matched pair",
        "firmware.start-files",
        "start_file and fixup_file match.",
        _BOOT,
    ),
    Rule("firmware is ELF", "firmware.start-files", "start*.elf is an ELF file.", "binary"),
    Rule(
        "configuration",
        "firmware.missing-file",
        "The booted partition has config.txt (tryboot.txt if the boot loader tries that).",
        "documentation: autoboot.txt, tryboot",
    ),
    Rule(
        "64 bits",
        "firmware.kernel-32bit",
        "The kernel starts in 64-bit mode: arm_64bit=1, which is not the default of BCM2837.",
        "documentation: arm_64bit",
    ),
    Rule("kernel", "firmware.missing-file", "The kernel is on the card.", "documentation: kernel"),
    Rule(
        "kernel is arm64",
        "firmware.bad-kernel",
        "The kernel is an arm64 Image, optionally compressed with gzip.",
        "Linux: arch/arm64/booting.rst; documentation: arm_64bit",
    ),
    Rule(
        "size of the kernel",
        "firmware.too-large",
        "A gzip kernel unpacks to at most 256 MiB.",
        "binary: start4.elf",
    ),
    Rule(
        "memory",
        "firmware.too-large",
        "Kernel, initramfs and device tree fit below the GPU's memory, in the smallest memory that "
        "the model is sold with.",
        _MEMORY + ", kernel_address",
    ),
    Rule(
        "initramfs",
        "firmware.missing-file",
        "The initramfs that config.txt names is on the card.",
        "documentation: initramfs",
    ),
    Rule(
        "device tree",
        "firmware.missing-file",
        "The device tree that config.txt names is on the card.",
        "documentation: device_tree",
    ),
    Rule(
        "device tree of the model",
        "firmware.wrong-device-tree",
        "The filters of config.txt select its own device tree for each model.",
        "documentation: conditional filters",
    ),
    Rule(
        "whole device tree",
        "firmware.bad-device-tree",
        "The device tree and the overlays are undamaged.",
        "Devicetree specification 0.4, section 5.2",
    ),
    Rule(
        "overlay",
        "firmware.missing-file",
        "Each overlay that config.txt names is on the card.",
        "documentation: dtoverlay",
    ),
    Rule(
        "overlay applies",
        "firmware.overlay-refused",
        "Each overlay applies to the device tree, in order.",
        "documentation: dtoverlay",
    ),
    Rule(
        "stepping D0",
        "firmware.missing-file",
        "BCM2712 of stepping D0: the card has overlays/bcm2712d0.dtbo, which the firmware applies "
        "by itself; without it the kernel accesses registers that do not exist.",
        "seen in firmware on D0: talos#12748, sbc-raspberrypi#23",
    ),
    Rule(
        "os_check",
        "firmware.os-check",
        "BCM2712: bcm2712-rpi-5-b.dtb is on the card, or os_check=0 is set.",
        "documentation: os_check",
    ),
)
