"""Building a module folder for the locked kernel, as steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from piimage.compose.described import deb_file
from piimage.compose.extract import Extracted
from piimage.config.module_folder import ModuleFolder
from piimage.debian.deb import data_stream
from piimage.debian.package import Package
from piimage.errors import InputError
from piimage.inflate import Chunks, Inflated, unxz
from piimage.lock import Lock
from piimage.lock.roots import HEADERS, SOURCE, TOOLCHAIN
from piimage.locking.kernel import LockedKernel, locked_kernel
from piimage.steps import Job, Step
from piimage.store import Blob
from piimage.toolchain.roots import COMPILER
from piimage.toolchain.sandbox import WORK
from piimage.toolchain.steps import Compiled, Made, Source
from piimage.toolchain.tree import Tool, Tools, build_architecture
from piimage.trees import Kind, read_tar

PREFIX: Final = "aarch64-linux-gnu-"


@dataclass(frozen=True)
class KernelFiles(Step):
    """Files of Debian's package of the kernel's source; one output for each, by path."""

    package: Blob
    files: tuple[str, ...]

    @property
    def title(self) -> str:
        """What is being made."""
        return f"extract {', '.join(PurePosixPath(name).name for name in self.files)} of the kernel"

    def make(self, job: Job) -> Mapping[str, Blob]:
        """Extract the files, and read the archive no further than needed.

        Raises InputError ``modules.no-kernel-file``.
        """
        missing = set(self.files)
        outputs: dict[str, Blob] = {}
        path = job.store.verified(self.package)
        with data_stream(job.runner, path) as outer:
            for archive in read_tar(outer, "the kernel's source"):
                if not archive.path.endswith(".tar.xz"):
                    continue
                source = Inflated(Chunks(iter(archive.content())), unxz())
                for entry in read_tar(source, archive.path):
                    name = entry.path.partition("/")[2]
                    if name in missing and entry.kind is Kind.FILE:
                        outputs[name] = job.store.add_stream(entry.content())
                        missing.remove(name)
                    if not missing:
                        return outputs
        raise InputError(
            "modules.no-kernel-file",
            f"the kernel's source has no file {', '.join(sorted(missing))}",
            hint="correct `source:` in module.yml: paths start at the top of the kernel's source",
        )


@dataclass(frozen=True)
class Prebuilt(Step):
    """A module that the user has built elsewhere; output ``NAME.ko``."""

    file: str
    content: bytes

    @property
    def title(self) -> str:
        """What is being made."""
        return f"copy {self.file}"

    def make(self, job: Job) -> Mapping[str, Blob]:
        """Store it."""
        return {self.file: job.store.add_bytes(self.content)}


def module_step(folder: ModuleFolder, lock: Lock, machine: str = "") -> Step:
    """Return the step that makes the module of `folder` for the kernel of `lock`.

    Its only output is the ``.ko``. `machine` is the build machine's kind (uname -m).
    """
    prebuilt = folder.prebuilt()
    if prebuilt is not None:
        return Prebuilt(folder.file, prebuilt)
    kernel = required_kernel(lock, str(folder.path))
    files: dict[str, Source] = dict(folder.sources())
    files |= _kernel_files(folder, lock)
    return Compiled(
        folder.module.name,
        module_tools(lock, machine),
        files,
        tuple(commands(folder.file, kernel)),
        (folder.file,),
    )


def required_kernel(lock: Lock, place: str) -> LockedKernel:
    """Return the lock's kernel; InputError ``modules.no-kernel`` if it is not Debian's."""
    kernel = locked_kernel(lock)
    if kernel is None:
        raise InputError(
            "modules.no-kernel",
            "modules are built for Debian's kernel, and the lock has no such kernel",
            place=place,
            hint="remove `kernel: image:`, or use an image that contains the module",
        )
    return kernel


def module_tools(lock: Lock, machine: str = "") -> Tools:
    """Return the toolchain of the build machine, with the kernel's headers."""
    roots = (f"{TOOLCHAIN}/{build_architecture(machine)}", HEADERS)
    packages = {package.key: package for root in roots for package in lock.of_root(root)}
    return Tools(tuple(_tool(package) for package in packages.values()))


def _tool(package: Package) -> Tool:
    return Tool(f"{package.name}_{package.version}", package.blob)


def commands(file: str, kernel: LockedKernel) -> tuple[tuple[str, ...], ...]:
    """Return the commands that make `file` in /source: kbuild, and Debian's strip."""
    kbuild = (
        "make", "-s", "-C", f"/usr/src/linux-headers-{kernel.release}", f"M={WORK}", "ARCH=arm64",
        f"CROSS_COMPILE={PREFIX}", f"CC={PREFIX}{COMPILER}",
        f"KCFLAGS=-ffile-prefix-map={WORK}/=",
        # Type information for tracing needs pahole; modules load without it.
        "CONFIG_DEBUG_INFO_BTF_MODULES=", "modules",
    )  # fmt: skip
    return (kbuild, (f"{PREFIX}strip", "--strip-debug", file))


def _kernel_files(folder: ModuleFolder, lock: Lock) -> dict[str, Source]:
    if not folder.module.source:
        return {}
    (package,) = lock.of_root(SOURCE)
    step = KernelFiles(package.blob, folder.module.source)
    return {PurePosixPath(name).name: Made(step, name) for name in folder.module.source}


def symbols(lock: Lock, kernel: LockedKernel) -> Extracted:
    """Return the step that extracts Module.symvers: the version of each kernel symbol."""
    name = f"linux-headers-{kernel.release}"
    packages = tuple(deb_file(package) for package in lock.of_root(HEADERS) if package.name == name)
    return Extracted("the kernel's headers", packages, (f"usr/src/{name}/Module.symvers",))
