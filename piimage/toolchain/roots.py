"""The compilers and tools of a build, as requests to the archive."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from piimage.debian.request import Request
from piimage.lock.roots import TOOLCHAIN

ARCHITECTURES: Final = ("amd64", "arm64")
"""Build machines that there is a toolchain for: one lock serves them all."""

COMPILER: Final = "gcc-14"
"""The compiler that Debian 13 builds its kernels with, backports included."""

TOOLS: Final = (
    f"{COMPILER}-aarch64-linux-gnu", "binutils-aarch64-linux-gnu", "make", "dash", "coreutils",
    "sed", "grep", "findutils", "mawk",
)  # fmt: skip
"""What a cross build runs, for modules and others alike."""

# What only maintainer scripts, sanitizers and debug information take.
_SANITIZERS: Final = ("libasan8", "libhwasan0", "liblsan0", "libtsan2", "libubsan1", "libitm1")
_WITHOUT: Final = (
    "debconf", "debianutils", "dpkg", "install-info", "libsystemd0", "pahole", "perl", "perl-base",
    *_SANITIZERS, *(f"{name}-arm64-cross" for name in _SANITIZERS),
)  # fmt: skip


def toolchain_requests(
    root: str = TOOLCHAIN, extra: Iterable[str] = (), without: Iterable[str] = ()
) -> Iterator[Request]:
    """Give the request for the cross compiler and `extra` packages of each build machine.

    A lock names them ``ROOT/amd64`` and ``ROOT/arm64``; a build unpacks those of its machine. A
    `root` begins with ``toolchain``, so that it is known as one (`is_for_building`).
    """
    packages, left_out = tuple(dict.fromkeys((*TOOLS, *extra))), (*_WITHOUT, *without)
    for architecture in ARCHITECTURES:
        yield Request(f"{root}/{architecture}", packages, left_out, architecture)
