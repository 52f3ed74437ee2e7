from __future__ import annotations

import io
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from piimage.config.module_folder import module_folder
from piimage.debian.package import Package
from piimage.errors import InputError, PiimageError
from piimage.lock import Lock
from piimage.lock.model import LockedRoot
from piimage.locking.kernel import locked_kernel, module_requests
from piimage.modules.steps import KernelFiles, Prebuilt, module_step
from piimage.run import Runner
from piimage.steps import Builder
from piimage.store import Store
from piimage.toolchain.steps import Compiled
from tests.unit.config.test_module_folder import write
from tests.unit.debian.makers import ar


def package(name: str, architecture: str = "arm64", version: str = "6.12.1-1") -> Package:
    return Package(name, version, architecture, f"pool/{name}", 1,
                   f"{name}/{architecture}".ljust(64, "0"), "linux", version, "trixie")  # fmt: skip


def lock_of(*packages: tuple[str, str, str]) -> Lock:
    """A lock whose packages are given as root, name and architecture."""
    found = {root: package(name, architecture) for root, name, architecture in packages}
    roots = tuple(
        LockedRoot(root, (package.name,), (), package.architecture, (package.key,))
        for root, package in found.items()
    )
    return Lock(roots=roots, packages=tuple(found.values()))


def full_lock() -> Lock:
    return lock_of(
        ("kernel", "linux-image-6.12.1+deb13-arm64", "arm64"),
        ("kernel-headers", "linux-headers-6.12.1+deb13-arm64", "arm64"),
        ("kernel-source", "linux-source-6.12", "all"),
        ("toolchain/amd64", "make", "amd64"),
        ("toolchain/arm64", "make", "arm64"),
    )


def test_the_kernel_is_known_from_its_package() -> None:
    kernel = locked_kernel(full_lock())
    assert kernel is not None
    assert (kernel.release, kernel.abi, kernel.flavour, kernel.source) == (
        "6.12.1+deb13-arm64", "6.12.1+deb13", "arm64", "linux-source-6.12"
    )  # fmt: skip
    assert locked_kernel(Lock()) is None


def test_what_is_asked_for_is_of_the_kernels_own_version(tmp_path: Path) -> None:
    kernel = locked_kernel(full_lock())
    assert kernel is not None
    plain = module_folder(write(tmp_path / "a", "name: a\nlicense: MIT\n"))
    stub = module_folder(write(tmp_path / "b", "name: b\nlicense: MIT\nsource: [x.c]\n"))
    assert module_requests([], kernel) == ()
    requests = {request.root: request for request in module_requests([plain], kernel)}
    assert list(requests) == ["kernel-headers", "toolchain/amd64", "toolchain/arm64"]
    assert requests["kernel-headers"].packages == ("linux-headers-6.12.1+deb13-arm64=6.12.1-1",)
    assert "linux-kbuild-6.12.1+deb13=6.12.1-1" in requests["toolchain/amd64"].packages
    assert [request.root for request in module_requests([plain, stub], kernel)][
        1
    ] == "kernel-source"


def test_another_kernel_or_toolchain_builds_anew(tmp_path: Path) -> None:
    folder = module_folder(write(tmp_path / "a", "name: a\nlicense: MIT\n", Kbuild="x"))
    lock = full_lock()
    step = module_step(folder, lock, "x86_64")
    assert isinstance(step, Compiled)
    assert step.key == module_step(folder, lock, "x86_64").key
    assert step.key != module_step(folder, lock, "aarch64").key
    newer = tuple(
        replace(package, sha256="f" * 64) if package.name.startswith("linux-headers") else package
        for package in lock.packages
    )
    assert step.key != module_step(folder, replace(lock, packages=newer), "x86_64").key


@pytest.mark.provokes("modules.no-kernel")
def test_a_kernel_that_is_not_debians_builds_no_module(tmp_path: Path) -> None:
    folder = module_folder(write(tmp_path / "a", "name: a\nlicense: MIT\n", Kbuild="x"))
    with pytest.raises(InputError, match="the lock has no such kernel"):
        module_step(folder, Lock())


def test_a_prebuilt_module_needs_no_toolchain(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", "name: a\nlicense: X\nprebuilt: a.ko\n", a__ko="bytes")
    assert module_step(module_folder(folder), Lock()) == Prebuilt("a.ko", b"bytes")


def source_package(store: Store) -> KernelFiles:
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:xz") as archive:
        for name in ("other.c", "drivers/x.c"):
            info = tarfile.TarInfo(f"linux-source-6.12/{name}")
            info.size = len(name)
            archive.addfile(info, io.BytesIO(name.encode()))
    outer = io.BytesIO()
    with tarfile.open(fileobj=outer, mode="w") as archive:
        info = tarfile.TarInfo("./usr/src/linux-source-6.12.tar.xz")
        info.size = len(inner.getvalue())
        archive.addfile(info, io.BytesIO(inner.getvalue()))
    deb = ar([("debian-binary", b"2.0\n"), ("data.tar", outer.getvalue())])
    return KernelFiles(store.add_bytes(deb), ("drivers/x.c",))


def test_files_are_taken_out_of_the_kernels_source(store: Store, runner: Runner) -> None:
    step = source_package(store)
    job = Builder(store, runner).build(step)
    assert job.file(step, "drivers/x.c").read_bytes() == b"drivers/x.c"


@pytest.mark.provokes("modules.no-kernel-file")
def test_a_file_that_the_kernel_does_not_have_is_named(store: Store, runner: Runner) -> None:
    step = replace(source_package(store), files=("drivers/x.c", "drivers/y.c"))
    with pytest.raises(PiimageError, match=r"no file drivers/y\.c"):
        Builder(store, runner).build(step)
