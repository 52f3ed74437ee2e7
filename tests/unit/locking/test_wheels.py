from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from piimage.config.models import Entry
from piimage.debian.package import Package
from piimage.errors import InputError, PiimageError
from piimage.lock import Lock, LockedEnvironment, LockedRoot, LockedWheel
from piimage.lock.roots import is_for_building
from piimage.locking.folders import folder_of, folder_requests
from piimage.locking.platforms import for_platform
from piimage.locking.wheels import lock_wheels
from piimage.oci.models import ARM64
from piimage.pkg.source import AMD64
from piimage.plan.composed import folder_parts
from piimage.python.fetch import WheelFetcher
from piimage.store import Store


def package(name: str, version: str, architecture: str = "arm64") -> Package:
    return Package(name, version, architecture, "pool/x", 1, "0" * 64, name, version, "trixie")


PYTHON = (package("libc6", "2.41-1"), package("python3.13-minimal", "3.13.5-1"))
WHEEL = LockedWheel("thing", "1.0", "thing-1.0-py3-none-any.whl", 1, "1" * 64)


def lock_of(folder: Path, *packages: Package) -> Lock:
    root = f"container/{folder.name}"
    keys = tuple(package.key for package in packages)
    return Lock(
        roots=(LockedRoot("base/python", (), (), "arm64", keys),),
        packages=packages,
        environments=(
            LockedEnvironment(root, ("thing",), "arm64", "3.13", "2.41", (WHEEL.filename,)),
        ),
        wheels=(WHEEL,),
    )


def entry(folder: Path) -> Entry:
    text = "name: x\nbase: python\nwheels: [thing]\nentrypoint: [/x]\n"
    (folder / "service.yml").write_text(text)
    return Entry(name="x", build=str(folder))


def test_a_folder_with_wheels_gets_their_layer(tmp_path: Path) -> None:
    folder = folder_of(entry(tmp_path))
    assert folder is not None
    layers = folder_parts(folder, lock_of(tmp_path, *PYTHON)).layers
    assert [WHEEL.blob in layer.blobs() for layer in layers] == [False, True, False]


@pytest.mark.provokes("python.no-python")
def test_a_folder_with_wheels_and_no_python_is_refused(tmp_path: Path) -> None:
    folder = folder_of(entry(tmp_path))
    assert folder is not None
    with pytest.raises(InputError, match="no Python"):
        folder_parts(folder, lock_of(tmp_path, PYTHON[0]))


def test_what_is_built_has_its_step_in_the_layer(tmp_path: Path) -> None:
    service = entry(tmp_path)
    text = (tmp_path / "service.yml").read_text() + "sources: [spi==3.8]\n"
    (tmp_path / "service.yml").write_text(text)
    folder = folder_of(service)
    assert folder is not None
    source = LockedWheel("spi", "3.8", "spi-3.8.tar.gz", 1, "2" * 64)
    lock = lock_of(tmp_path, *PYTHON)
    environment = replace(
        lock.environments[0], wheels=(source.filename, WHEEL.filename), sources=("spi==3.8",)
    )
    compiler = replace(PYTHON[0], sha256="3" * 64, architecture="amd64")
    roots = tuple(
        LockedRoot(
            request.root, request.packages, request.without, request.architecture, (compiler.key,)
        )
        for request in folder_requests([folder])
        if is_for_building(request.root)
    )
    whole = replace(
        lock,
        roots=(*lock.roots, *roots),
        packages=(*lock.packages, compiler),
        environments=(environment,),
        wheels=(source, WHEEL),
    )
    layers = folder_parts(folder, for_platform(whole, ARM64)).layers
    ((step,),) = [layer.needs() for layer in layers if layer.needs()]
    assert {source.blob, compiler.blob} <= set(step.blobs())
    assert WHEEL.blob not in step.blobs()


def test_each_platform_of_an_image_has_its_own_wheels(tmp_path: Path) -> None:
    lock = lock_of(tmp_path, *PYTHON)
    other = replace(WHEEL, filename="thing-1.0-cp313-cp313-manylinux_2_17_x86_64.whl")
    amd64 = replace(
        lock.environments[0], name=f"{lock.environments[0].name}@amd64", architecture="amd64",
        wheels=(other.filename,),
    )  # fmt: skip
    both = replace(lock, environments=(*lock.environments, amd64), wheels=(WHEEL, other))
    assert for_platform(both, ARM64).wheels == (WHEEL,)
    own = for_platform(both, AMD64)
    assert own.wheels_of(lock.environments[0].name) == (other,)


@contextmanager
def offline() -> Iterator[WheelFetcher]:
    yield WheelFetcher(cast(Store, None), None)


@pytest.mark.provokes("python.not-locked")
def test_wheels_stay_without_a_question_until_one_of_them_moves(tmp_path: Path) -> None:
    folder = folder_of(entry(tmp_path))
    assert folder is not None
    lock = lock_of(tmp_path, *PYTHON)
    old = replace(lock.environments[0], name=folder.root)
    lock = replace(lock, environments=(old,), wheels=(WHEEL, replace(WHEEL, filename="other.whl")))
    kept = lock_wheels(lock, [folder], offline, {"another"})
    assert kept == replace(lock, wheels=(WHEEL,))
    for moving in ({"thing"}, {"*"}):
        with pytest.raises(PiimageError, match="the lock does not pin its wheels"):
            lock_wheels(lock, [folder], offline, moving)
    for changed in (
        replace(old, asks=("thing>=2",)), replace(old, python="3.12"),
        replace(old, glibc="2.40"), replace(old, sources=("thing",)), replace(old, name="x"),
    ):  # fmt: skip
        with pytest.raises(PiimageError, match="the lock does not pin its wheels"):
            lock_wheels(replace(lock, environments=(changed,)), [folder], offline)
