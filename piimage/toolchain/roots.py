"""The requests for the compilers and tools of a build."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from piimage.debian.request import Request
from piimage.lock.roots import TOOLCHAIN

ARCHITECTURES: Final = ("amd64", "arm64")
"""The build machines with a toolchain; a lock has the packages for all of them."""

COMPILER: Final = "gcc-14"
"""The compiler of Debian 13's kernels, including those of backports."""

TOOLS: Final = (
    f"{COMPILER}-aarch64-linux-gnu", "binutils-aarch64-linux-gnu", "make", "dash", "coreutils",
    "sed", "grep", "findutils", "mawk",
)  # fmt: skip
"""The tools of every cross build."""

# Dependencies of maintainer scripts, sanitizers and debug information only.
_SANITIZERS: Final = ("libasan8", "libhwasan0", "liblsan0", "libtsan2", "libubsan1", "libitm1")
_WITHOUT: Final = (
    "debconf", "debianutils", "dpkg", "install-info", "libsystemd0", "pahole", "perl", "perl-base",
    *_SANITIZERS, *(f"{name}-arm64-cross" for name in _SANITIZERS),
)  # fmt: skip


def toolchain_requests(
    root: str = TOOLCHAIN, extra: Iterable[str] = (), without: Iterable[str] = ()
) -> Iterator[Request]:
    """Give the request for the cross compiler and `extra` packages of each build machine.

    A lock names them ``ROOT/amd64`` and ``ROOT/arm64``; a build unpacks those of its machine.
    The name `root` must begin with ``toolchain``, which `is_for_building` checks.
    """
    packages, left_out = tuple(dict.fromkeys((*TOOLS, *extra))), (*_WITHOUT, *without)
    for architecture in ARCHITECTURES:
        yield Request(f"{root}/{architecture}", packages, left_out, architecture)
