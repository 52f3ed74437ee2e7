"""The host programs that piimage starts: the Debian package of each, and what needs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from piimage import distribution


@dataclass(frozen=True)
class Tool:
    """A host program: its Debian package, and the verbs or keys of the YAML that need it.

    An `optional` one is needed only beside something that not everybody has, such as a cluster.
    """

    package: str
    needed_by: str
    optional: bool = False


TOOLS: Final[Mapping[str, Tool]] = {
    "apparmor_parser": Tool("apparmor", "apparmor: FILE"),
    "bwrap": Tool("bubblewrap", "sources:, kernel modules"),
    "debugfs": Tool("e2fsprogs", "build, flash, provision"),
    "depmod": Tool("kmod", "build"),
    "dtc": Tool("device-tree-compiler", "build"),
    "dumpe2fs": Tool("e2fsprogs", "flash, provision"),
    "e2fsck": Tool("e2fsprogs", "flash, provision"),
    "fdtoverlay": Tool("device-tree-compiler", "build, run"),
    "fdtput": Tool("device-tree-compiler", "run"),
    "git": Tool("git", "pkg"),
    "gpgv": Tool("gpgv", "lock, build"),
    "lsblk": Tool("util-linux", "devices, flash"),
    "mcopy": Tool("mtools", "build"),
    "mke2fs": Tool("e2fsprogs", "build"),
    "mkfs.fat": Tool("dosfstools", "build"),
    "mksquashfs": Tool("squashfs-tools", "build"),
    "mmd": Tool("mtools", "build"),
    "openssl": Tool("openssl", "signing:"),
    "qemu-img": Tool("qemu-utils", "run, test, --format qcow2"),
    "qemu-system-aarch64": Tool("qemu-system-arm", "run, test"),
    "kubectl": Tool("kubernetes-client", "deploy --apply", optional=True),
    "skopeo": Tool("skopeo", "image:, pkg"),
    "ssh": Tool("openssh-client", "deploy, status, shell"),
    "ssh-add": Tool("openssh-client", "new"),
    "ssh-keygen": Tool("openssh-client", "build"),
    "unshare": Tool("util-linux", "build"),
    "xz": Tool("xz-utils", "build, flash"),
    "zstd": Tool("zstd", "build"),
}


def install_hint(program: str, host: Path = distribution.ROOT) -> str:
    """Return the sentence that tells how to install `program` on `host`."""
    package = TOOLS[program].package if program in TOOLS else program
    return distribution.install_hint([package], host)
