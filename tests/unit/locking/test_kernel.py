"""A lock of a file with modules: the kernel first, and what is built with follows it."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from piimage import events
from piimage.boards import load_board
from piimage.config.models import Appliance
from piimage.config.module_folder import module_folder
from piimage.debian.package import Package
from piimage.debian.request import Request
from piimage.lock import Lock
from piimage.lock.model import LockedRoot
from piimage.locking.appliance import LockableAppliance
from piimage.locking.inputs import Inputs
from piimage.locking.kernel import LockedKernel, locked_kernel, module_requests
from piimage.run import Runner
from piimage.store import Store
from tests.unit.config.test_module_folder import write


@dataclass
class Archive:
    """A fake of `Pinning`: has each package in one version, and notes the pins that may stay."""

    kernel: str
    kept: list[tuple[set[str], set[str]]] = field(default_factory=list)

    def lock(
        self, requests: Sequence[Request], old: Lock | None = None, moving: Collection[str] = ()
    ) -> Lock:
        self.kept.append(({p.key for p in old.packages} if old else set(), {*moving}))
        packages: dict[str, Package] = {}
        roots = []
        for request in requests:
            names = [name.partition("=")[0].partition("/")[0] for name in request.packages]
            if request.root == "kernel":
                names.append(f"linux-image-{self.kernel}-arm64")
            own = [self.package(name, request.architecture) for name in names]
            packages |= {package.key: package for package in own}
            keys = tuple(package.key for package in own)
            roots.append(
                LockedRoot(
                    request.root, request.packages, request.without, request.architecture, keys
                )
            )
        return Lock(roots=tuple(roots), packages=tuple(packages.values()))

    def package(self, name: str, architecture: str) -> Package:
        linux = name.startswith("linux")
        version = f"{self.kernel}-1" if linux else "1"
        source = "linux" if linux else name
        return Package(name, version, architecture, f"p/{name}", 1, "0" * 64, source, version, "x")


@pytest.fixture
def appliance(tmp_path: Path) -> Appliance:
    folder = write(tmp_path / "a", "name: a\nlicense: MIT\n", Kbuild="obj-m := a.o")
    return Appliance.model_validate({"modules": [{"build": str(folder)}]})


@pytest.fixture
def inputs(store: Store, runner: Runner) -> Inputs:
    return Inputs(store, runner, events.ignore, time.time, offline=True)


def subject(appliance: Appliance) -> LockableAppliance:
    return LockableAppliance(appliance, load_board("qemu-virt"))


def missing(appliance: Appliance, lock: Lock) -> tuple[str, ...]:
    return subject(appliance).requested(lock).missing_from(lock)


def locked(
    archive: Archive, appliance: Appliance, inputs: Inputs, patch: pytest.MonkeyPatch,
    old: Lock | None = None, moving: Collection[str] = (),
) -> Lock:  # fmt: skip
    patch.setattr(Inputs, "pinning", lambda *_: archive)
    return subject(appliance).resolve(inputs, old, moving)


def test_the_toolchain_is_locked_only_where_a_module_is_built(
    appliance: Appliance, inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_module = locked(Archive("6.12.1"), appliance, inputs, monkeypatch)
    assert {"kernel-headers", "toolchain/amd64", "toolchain/arm64"} <= {
        root.name for root in with_module.roots
    }
    assert missing(appliance, with_module) == ()
    without = locked(Archive("6.12.1"), Appliance(), inputs, monkeypatch)
    assert {root.name for root in without.roots} == {"kernel", "system"}
    lines = missing(appliance, without)
    assert any(line.startswith("+ toolchain/amd64") for line in lines)
    assert any(line.startswith("- toolchain/amd64") for line in missing(Appliance(), with_module))


def test_a_kernel_that_moves_takes_its_headers_along(
    appliance: Appliance, inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = locked(Archive("6.12.1"), appliance, inputs, monkeypatch)
    archive = Archive("6.12.2")
    new = locked(archive, appliance, inputs, monkeypatch, old)
    assert new.of_root("kernel-headers")[0].name == "linux-headers-6.12.2-arm64"
    # Pins of the tools stay, those of the old kernel's headers and programs do not.
    _, (kept, _) = archive.kept
    assert "make:amd64" in kept
    assert not [key for key in kept if "6.12.1" in key]
    assert missing(appliance, new) == ()


def test_the_first_half_never_sees_the_pins_of_the_second(
    appliance: Appliance, inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = locked(Archive("6.12.1"), appliance, inputs, monkeypatch)
    archive = Archive("6.12.1")
    locked(archive, appliance, inputs, monkeypatch, old, {"make"})
    (first, moving), (second, _) = archive.kept
    assert not [key for key in first if key.endswith(":amd64")]
    assert moving == set()  # `make` is none of its packages, and no mistake either
    assert "make:amd64" not in second
    assert "mawk:amd64" in second
    assert "linux-headers-6.12.1-arm64:arm64" in second


def test_a_lock_of_an_older_piimage_has_no_kernel_to_follow(appliance: Appliance) -> None:
    roots = [request.root for request in subject(appliance).requested(Lock()).packages]
    assert roots == ["kernel", "system"]


def kernel_of(name: str, version: str = "6.12.117-1") -> LockedKernel | None:
    package = Package(name, version, "arm64", "p/x", 1, "0" * 64, "linux", version, "trixie")
    root = LockedRoot("kernel", ("linux-image-arm64",), (), "arm64", (package.key,))
    return locked_kernel(Lock(roots=(root,), packages=(package,)))


@pytest.mark.parametrize(
    ("name", "release", "source"),
    [
        ("linux-image-6.12.117+deb13-arm64", "6.12.117+deb13-arm64", "linux-source-6.12"),
        ("linux-image-6.12.117+deb13-arm64-unsigned", "6.12.117+deb13-arm64", "linux-source-6.12"),
        ("linux-image-7.0+bpo-cloud-arm64", "7.0+bpo-cloud-arm64", "linux-source-7.0"),
        ("linux-image-arm64", None, None),
    ],
)
def test_a_kernel_is_known_by_its_package(
    name: str, release: str | None, source: str | None
) -> None:
    """Debian's kernel packages: the ABI, then the flavour; sources are per minor version."""
    kernel = kernel_of(name)
    assert (kernel.release if kernel else None) == release
    assert (kernel.source if kernel else None) == source


def test_what_a_module_is_built_with(tmp_path: Path) -> None:
    kernel = kernel_of("linux-image-6.12.117+deb13-arm64")
    assert kernel is not None
    assert module_requests([], kernel) == ()
    own = write(tmp_path / "a", "name: a\nlicense: MIT\n", Kbuild="obj-m := a.o")
    (headers, *tools) = module_requests([module_folder(own)], kernel)
    assert headers == Request(
        "kernel-headers", ("linux-headers-6.12.117+deb13-arm64=6.12.117-1",),
        ("linux-base", "linux-image-6.12.117+deb13-arm64",
         "linux-image-6.12.117+deb13-arm64-unsigned", "linux-kbuild-6.12.117+deb13", "gcc-14"),
    )  # fmt: skip
    assert [request.root for request in tools] == ["toolchain/amd64", "toolchain/arm64"]
    assert [request.architecture for request in tools] == ["amd64", "arm64"]
    for request in tools:
        assert request.packages[-1] == "linux-kbuild-6.12.117+deb13=6.12.117-1"
    source = write(tmp_path / "b", "name: b\nlicense: MIT\nsource: [drivers/x/b.c]\n")
    requests = module_requests([module_folder(own), module_folder(source)], kernel)
    assert requests[1] == Request(
        "kernel-source", ("linux-source-6.12=6.12.117-1",), ("binutils", "xz-utils")
    )
