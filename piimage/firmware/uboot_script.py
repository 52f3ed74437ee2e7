"""The script with which U-Boot starts one of two slots: whether the next start is a try.

The system tells U-Boot by a mark in a sector of the first partition that the file system reserves
and does not use. The script removes the mark before it starts anything, so that a try is started
once. What it starts is in an entry: variables of U-Boot's environment. It uses only commands that
all of Debian's U-Boots for 64-bit boards have; `sysboot`, which reads extlinux.conf, is not among
them. Sources: U-Boot's documentation, "Generic Distro Configuration Concept", "script bootmeth",
commands `booti`, `env`, `itest`, `mw`, `source`; include/image.h (the header of an image).
"""

from __future__ import annotations

import struct
import zlib
from typing import Final

SCRIPT: Final = "boot.scr"
MARK: Final = b"piimage: try once\n"
"""What the sector begins with if the next start is a try. The agent's try-flag.sh writes it."""
SECTOR: Final = 16
"""The number of the sector, counted from the beginning of the partition: mkfs.fat reserves 32 of a
FAT32, of which 0 to 8 are used."""
KERNEL, INITRAMFS, TREE, OPTIONS = (
    "piimage_kernel", "piimage_initrd", "piimage_fdt", "bootargs",
)  # fmt: skip
"""The variables of an entry."""
_SECTOR_SIZE: Final = 512
_HEADER: Final = struct.Struct(">IIIIIIIBBBB32s")
_MAGIC: Final = 0x27051956
_LINUX, _ARM64, _SCRIPT, _PLAIN = 5, 22, 6, 0
_FIRST: Final = int.from_bytes(MARK[:4], "little")


def script(start: int, current: str, tried: str) -> bytes:
    """Return boot.scr for a partition that begins at byte `start` of its disk.

    `current` and `tried` are the entries of an ordinary start and of a try. If U-Boot cannot
    write the sector, or if the other slot has no kernel, an ordinary start follows.
    """
    place, address = f"0x{start // _SECTOR_SIZE + SECTOR:x} 1", "${kernel_addr_r}"
    load = "load ${devtype} ${devnum}:${distro_bootpart}"
    lines = (
        "# Written by piimage: the slot that boots, or once the other one, on trial.",
        "setenv piimage_entries",
        "${devtype} dev ${devnum}",
        f"mw.l {address} 0 0x80",
        f"${{devtype}} read {address} {place}",
        f"if itest.l *{address} == 0x{_FIRST:x}; then",
        f"mw.l {address} 0 0x80",
        f"if ${{devtype}} write {address} {place}; then",
        f"mw.l {address} 0x{_FIRST:x} 0x80",
        f"${{devtype}} read {address} {place}",
        f"if itest.l *{address} == 0; then",
        f"setenv piimage_entries /{tried}",
        "fi",
        "fi",
        "fi",
        f"for entry in ${{piimage_entries}} /{current}; do",
        f"setenv {TREE}",
        f"if {load} {address} ${{entry}}; then",
        f"env import -t {address} ${{filesize}}",
        "setenv piimage_fdt_addr ${fdtcontroladdr}",
        'if test -n "${fdt_addr}"; then',
        "setenv piimage_fdt_addr ${fdt_addr}",
        "fi",
        f'if test -n "${{{TREE}}}"; then',
        f"{load} ${{fdt_addr_r}} ${{{TREE}}}",
        "setenv piimage_fdt_addr ${fdt_addr_r}",
        "fi",
        f"if {load} {address} ${{{KERNEL}}}; then",
        f"if {load} ${{ramdisk_addr_r}} ${{{INITRAMFS}}}; then",
        f"booti {address} ${{ramdisk_addr_r}}:${{filesize}} ${{piimage_fdt_addr}}",
        "fi",
        "fi",
        "fi",
        "done",
    )
    return image("\n".join(lines) + "\n")


def image(text: str) -> bytes:
    """Return a script in the form of an image of U-Boot, without a time."""
    content = text.encode("ascii")
    data = struct.pack(">II", len(content), 0) + content
    kind = (_LINUX, _ARM64, _SCRIPT, _PLAIN, b"piimage")
    fields = (0, len(data), 0, 0, zlib.crc32(data), *kind)
    empty = _HEADER.pack(_MAGIC, 0, *fields)
    return _HEADER.pack(_MAGIC, zlib.crc32(empty), *fields) + data
