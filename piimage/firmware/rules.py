"""Every rule by which a card is refused, with its source: data for documents and tests.

The reader (`loader`, `reader`) holds cards against them; the sources are named in `chains`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Rule:
    """What a card must have so that a Pi's firmware starts its kernel."""

    name: str
    code: str
    """The error of a card that breaks it."""
    says: str
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
        "length of autoboot.txt",
        "firmware.autoboot-too-long",
        "autoboot.txt has at most 512 bytes.",
        "documentation: autoboot.txt",
    ),
    Rule(
        "[tryboot] before 2022-11",
        "firmware.missing-file",
        "A Pi 4 whose EEPROM is older than 2022-11-25 passes over the line [tryboot] and takes "
        "what is below it: while the other slot is empty, autoboot.txt must not name it.",
        "binary: EEPROMs of 2021-04-29 and 2022-04-26; release notes: 2022-11-25",
    ),
    Rule("sectors", "firmware.fat-geometry", "FAT sectors have 512 bytes.", _FAT),
    Rule(
        "kind of FAT",
        "firmware.fat-geometry",
        "The number of clusters is not within 16 of where FAT12, FAT16 and FAT32 part.",
        _FAT + ", section 3.5",
    ),
    Rule("FAT", "firmware.damaged-fat", "The FAT file system is whole.", _FAT),
    Rule(
        "bootcode.bin",
        "firmware.second-stage",
        "Pi 3 and Zero 2 W: bootcode.bin is on the first FAT partition.",
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
        "With less than 32 MiB for the GPU, start_cd.elf and fixup_cd.dat (Pi 4: start4cd.elf, "
        "fixup4cd.dat) are looked for, and nothing else. An include is not followed by this stage.",
        "binary: bootcode.bin at 0x6490, 0x6576, 0x6628; " + _MEMORY,
    ),
    Rule(
        "cut-down firmware by name",
        "firmware.start-files",
        "start_file does not name the cut-down firmware: only gpu_mem=16 takes it.",
        _BOOT,
    ),
    Rule(
        "start_x and start_debug",
        "firmware.start-files",
        "start_x=1 and start_debug=1 look for files of their own.",
        _BOOT,
    ),
    Rule(
        "matched pair",
        "firmware.start-files",
        "start_file and fixup_file are a pair.",
        _BOOT,
    ),
    Rule("firmware is ELF", "firmware.start-files", "start*.elf is an ELF file.", "binary"),
    Rule(
        "configuration",
        "firmware.missing-file",
        "The booted partition has config.txt (tryboot.txt when that is tried).",
        "documentation: autoboot.txt, tryboot",
    ),
    Rule(
        "64 bits",
        "firmware.kernel-32bit",
        "The kernel starts in 64-bit mode: arm_64bit=1, which a Pi 3 does not assume.",
        "documentation: arm_64bit",
    ),
    Rule("kernel", "firmware.missing-file", "The kernel is there.", "documentation: kernel"),
    Rule(
        "kernel is arm64",
        "firmware.bad-kernel",
        "The kernel is an arm64 Image, gzip or not.",
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
        "Kernel, initramfs and device tree fit below the GPU's memory, on the smallest of a model.",
        _MEMORY + ", kernel_address",
    ),
    Rule(
        "initramfs",
        "firmware.missing-file",
        "The initramfs that config.txt names is there.",
        "documentation: initramfs",
    ),
    Rule(
        "device tree",
        "firmware.missing-file",
        "The device tree that config.txt names is there.",
        "documentation: device_tree",
    ),
    Rule(
        "device tree of the model",
        "firmware.wrong-device-tree",
        "The filters give each model its own device tree.",
        "documentation: conditional filters",
    ),
    Rule(
        "whole device tree",
        "firmware.bad-device-tree",
        "Device tree and overlays are whole.",
        "Devicetree specification 0.4, section 5.2",
    ),
    Rule(
        "overlay",
        "firmware.missing-file",
        "Each overlay that config.txt names is there.",
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
        "On a Pi 5 of stepping D0 the firmware lays overlays/bcm2712d0.dtbo over the tree by "
        "itself; without it the kernel touches registers that are not there.",
        "seen in firmware on D0: talos#12748, sbc-raspberrypi#23",
    ),
    Rule(
        "os_check",
        "firmware.os-check",
        "Pi 5: bcm2712-rpi-5-b.dtb is there, or os_check=0.",
        "documentation: os_check",
    ),
)
