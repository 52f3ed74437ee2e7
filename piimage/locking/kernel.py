"""The packages that module builds need, which depend on the locked kernel."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from piimage.config.module_folder import ModuleFolder
from piimage.debian.package import Package
from piimage.debian.request import Request
from piimage.lock import Lock
from piimage.lock.roots import HEADERS, SOURCE, TOOLCHAIN
from piimage.toolchain.roots import COMPILER, toolchain_requests

_IMAGE: Final = re.compile(r"linux-image-(?P<abi>[0-9][^-]*)-(?P<flavour>.+?)(-unsigned)?")


@dataclass(frozen=True)
class LockedKernel:
    """The kernel of a lock: its ABI (``6.12.117+deb13``), its flavour (``arm64``), its package."""

    abi: str
    flavour: str
    package: Package

    @property
    def release(self) -> str:
        """What ``uname -r`` prints on it."""
        return f"{self.abi}-{self.flavour}"

    @property
    def source(self) -> str:
        """The package of its source code."""
        return f"linux-source-{'.'.join(self.abi.split('+')[0].split('.')[:2])}"


def locked_kernel(lock: Lock) -> LockedKernel | None:
    """Return the Debian kernel of `lock`; None if it has none."""
    for root in lock.roots:
        for key in root.packages if root.name == "kernel" else ():
            package = lock.by_key[key]
            if match := _IMAGE.fullmatch(package.name):
                return LockedKernel(match["abi"], match["flavour"], package)
    return None


def module_requests(folders: Iterable[ModuleFolder], kernel: LockedKernel) -> Sequence[Request]:
    """Return what building `folders` for `kernel` needs; nothing if there is no folder."""
    modules = tuple(folders)
    return tuple(_requests(modules, kernel)) if modules else ()


def _requests(folders: Sequence[ModuleFolder], kernel: LockedKernel) -> Iterator[Request]:
    version = kernel.package.version
    image = f"linux-image-{kernel.release}"
    # The headers depend on the image, and on compilers of the Pi's own architecture.
    without = ("linux-base", image, f"{image}-unsigned", f"linux-kbuild-{kernel.abi}", COMPILER)
    yield Request(HEADERS, (f"linux-headers-{kernel.release}={version}",), without)
    if any(folder.module.source for folder in folders):
        yield Request(SOURCE, (f"{kernel.source}={version}",), ("binutils", "xz-utils"))
    yield from toolchain_requests(TOOLCHAIN, [f"linux-kbuild-{kernel.abi}={version}"])
