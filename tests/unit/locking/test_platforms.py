"""The lock of a container folder, for several platforms."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from piimage import events
from piimage.config.service import Service
from piimage.debian.package import Package
from piimage.debian.request import Request
from piimage.lock import Lock, LockedEnvironment, LockedRoot, LockedWheel
from piimage.locking.folders import ContainerFolder
from piimage.locking.inputs import Inputs
from piimage.locking.platforms import LockableFolder
from piimage.oci.models import ARM64
from piimage.pkg.source import AMD64
from piimage.run import Runner
from piimage.store import Store


class Archive:
    """A fake of `Pinning`: has each package in one version."""

    def lock(self, requests: Sequence[Request], old: Lock, moving: Collection[str] = ()) -> Lock:
        packages: dict[str, Package] = {}
        roots = []
        for request in requests:
            own = [self.package(name, request.architecture) for name in request.packages]
            packages |= {package.key: package for package in own}
            keys = tuple(package.key for package in own)
            roots.append(
                LockedRoot(
                    request.root, request.packages, request.without, request.architecture, keys
                )
            )
        return replace(old, roots=tuple(roots), packages=tuple(packages.values()))

    def package(self, name: str, architecture: str) -> Package:
        return Package(name, "1", architecture, f"p/{name}", 1, "0" * 64, name, "1", "trixie")


@pytest.fixture
def inputs(store: Store, monkeypatch: pytest.MonkeyPatch) -> Inputs:
    monkeypatch.setattr(Inputs, "pinning", lambda *_: Archive())
    return Inputs(store, Runner(), events.ignore, lambda: 0.0, offline=True)


def folder(**settings: object) -> ContainerFolder:
    service = Service.model_validate({"name": "x", "packages": ["app"], **settings})
    return ContainerFolder("container/x", Path("x"), service)


def test_each_platform_has_roots_of_its_own(inputs: Inputs) -> None:
    subject = LockableFolder(folder(), (), (ARM64, AMD64))
    lock = subject.resolve(inputs, None, ())
    assert [(root.name, root.architecture) for root in lock.roots] == [
        ("container/x@amd64", "amd64"),
        ("container/x", "arm64"),
    ]
    assert subject.requested(lock).missing_from(lock) == ()


def test_a_platform_that_was_locked_stays(inputs: Inputs) -> None:
    both = LockableFolder(folder(), (), (ARM64, AMD64)).resolve(inputs, None, ())
    arm64 = LockableFolder(folder(), (), (ARM64,))
    assert arm64.requested(both).missing_from(both) == ()


def test_wheels_are_requested_for_each_platform() -> None:
    subject = LockableFolder(folder(base="python", wheels=["thing"]), (), (ARM64, AMD64))
    missing = subject.requested(Lock()).missing_from(Lock())
    assert "+ container/x: wheel thing" in missing
    assert "+ container/x@amd64: wheel thing" in missing


def test_tools_of_the_build_machine_are_requested_once() -> None:
    subject = LockableFolder(folder(base="python", sources=["spi==3.8"]), (), (ARM64, AMD64))
    roots = [request.root for request in subject.requested(Lock()).packages]
    assert {"base/python", "base/python@amd64", "container/x", "container/x@amd64"} < {*roots}
    assert len(roots) == len({*roots})
    assert any(root.startswith("toolchain") for root in roots)


def test_wheels_that_are_no_longer_requested_leave_the_lock(inputs: Inputs) -> None:
    wheel = LockedWheel("thing", "1.0", "thing-1.0-py3-none-any.whl", 1, "1" * 64)
    environment = LockedEnvironment(
        "container/x", ("thing",), "arm64", "3.13", "2.41", (wheel.filename,)
    )
    subject = LockableFolder(folder(), (), (ARM64,))
    old = replace(subject.resolve(inputs, None, ()), environments=(environment,), wheels=(wheel,))
    assert subject.requested(old).missing_from(old) == ("- container/x: wheel thing",)
    new = subject.resolve(inputs, old, ())
    assert (new.environments, new.wheels) == ((), ())
    assert subject.requested(new).missing_from(new) == ()


def test_packages_leave_the_lock_of_a_folder_that_becomes_a_dockerfile(inputs: Inputs) -> None:
    old = LockableFolder(folder(), (), (ARM64,)).resolve(inputs, None, ())
    subject = LockableFolder(None, (), (ARM64,))
    new = subject.resolve(inputs, old, ())
    assert new == Lock()
    assert subject.requested(new).missing_from(new) == ()
