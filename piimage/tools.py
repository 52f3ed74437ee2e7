"""The host programs that piimage starts, and the Debian package of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

PACKAGES: Final[Mapping[str, str]] = {
    "bmaptool": "bmap-tools",
    "bwrap": "bubblewrap",
    "debugfs": "e2fsprogs",
    "depmod": "kmod",
    "dtc": "device-tree-compiler",
    "e2fsck": "e2fsprogs",
    "fdtget": "device-tree-compiler",
    "fdtoverlay": "device-tree-compiler",
    "fdtput": "device-tree-compiler",
    "fsck.vfat": "dosfstools",
    "git": "git",
    "gpgv": "gpgv",
    "mcopy": "mtools",
    "mdir": "mtools",
    "mformat": "mtools",
    "mke2fs": "e2fsprogs",
    "mkfs.fat": "dosfstools",
    "mkfs.vfat": "dosfstools",
    "mksquashfs": "squashfs-tools",
    "mmd": "mtools",
    "mtype": "mtools",
    "qemu-img": "qemu-utils",
    "qemu-io": "qemu-utils",
    "qemu-system-aarch64": "qemu-system-arm",
    "sfdisk": "fdisk",
    "skopeo": "skopeo",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "unsquashfs": "squashfs-tools",
    "xz": "xz-utils",
    "zstd": "zstd",
}


def install_hint(program: str) -> str:
    """Return the sentence that tells how to install `program`."""
    return f"install it with: apt-get install {PACKAGES.get(program, program)}"
