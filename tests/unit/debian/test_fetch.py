from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from piimage import events
from piimage.debian.fetch import Fetcher
from piimage.debian.mirror import Mirrors, choose
from piimage.errors import ErrorGroup, PiimageError
from piimage.store import Store
from tests.unit.debian.makers import ArchiveFolder, Deb

DEBS = [Deb(f"p{number}", files={"./x": bytes([number]) * 5000}) for number in range(12)]


@pytest.fixture
def fetcher(store: Store, folder: ArchiveFolder, mirrors: Mirrors) -> Fetcher:
    folder.publish(DEBS)
    return Fetcher(store, mirrors)


def blobs(store: Store) -> list[Path]:
    return [path for name in ("blobs", "tmp") for path in (store.root / name).rglob("*")
            if path.is_file()]  # fmt: skip


def test_all_packages_are_fetched_into_the_store(fetcher: Fetcher) -> None:
    emitted: list[events.Event] = []
    packages = [deb.package() for deb in DEBS]
    replace(fetcher, emit=emitted.append).fetch([*packages, packages[0]])
    assert all(fetcher.store.verified(package.blob) for package in packages)
    last = emitted[-1]
    assert isinstance(last, events.Progress)
    assert last.done == last.total == sum(package.size for package in packages)


@pytest.mark.parametrize(("count", "title"), [(1, "fetch a package"), (2, "fetch 2 packages")])
def test_progress_is_told_by_the_bytes_of_all(fetcher: Fetcher, count: int, title: str) -> None:
    emitted: list[events.Event] = []
    packages = [deb.package() for deb in DEBS[:count]]
    replace(fetcher, emit=emitted.append).fetch(packages)
    total = sum(package.size for package in packages)
    assert emitted[-1] == events.Progress("debian-packages", title, total, total)


def test_the_largest_package_is_fetched_first(
    store: Store, folder: ArchiveFolder, mirrors: Mirrors
) -> None:
    sizes = {"small": 10, "large": 9000, "middle": 3000}
    debs = [Deb(name, files={"./x": os.urandom(size)}) for name, size in sizes.items()]
    folder.publish(debs)
    emitted: list[events.Event] = []
    Fetcher(store, mirrors, workers=1, emit=emitted.append).fetch(deb.package() for deb in debs)
    small, large, middle = (deb.package().size for deb in debs)
    seen = [event.done for event in emitted if isinstance(event, events.Progress)]
    assert seen == [large, large + middle, large + middle + small]


@pytest.mark.parametrize(
    ("path", "component"),
    [
        ("pool/main/b/busybox/busybox_1_arm64.deb", "main"),
        ("pool/non-free-firmware/f/firmware/firmware_1_all.deb", "non-free-firmware"),
        ("pool/contrib/x/x.deb", "main"),
        ("dists/contrib/x/y/z.deb", "main"),
    ],
)
def test_the_component_is_in_the_path_of_a_pool(path: str, component: str) -> None:
    assert replace(DEBS[0].package(), path=path).component == component


def test_a_stored_package_is_not_fetched_again(fetcher: Fetcher, folder: ArchiveFolder) -> None:
    package = DEBS[0].package()
    fetcher.fetch([package])
    (folder.root / package.path).unlink()
    fetcher.fetch([package])
    replace(fetcher, mirrors=None).fetch([package])


@pytest.mark.provokes("debian.package-absent")
def test_offline_a_package_that_is_not_stored_is_an_error(fetcher: Fetcher) -> None:
    with pytest.raises(PiimageError, match=r"p0 1\.0 \(arm64\): .* is not in the store"):
        replace(fetcher, mirrors=None).fetch([DEBS[0].package()])


@pytest.mark.provokes("debian.package-absent")
def test_offline_the_snapshot_is_not_used_either(fetcher: Fetcher, mirrors: Mirrors) -> None:
    with pytest.raises(PiimageError, match="not in the store"):
        replace(fetcher, mirrors=None, snapshot=mirrors).fetch([DEBS[0].package()])


@pytest.mark.provokes("debian.deb-swapped")
def test_another_package_under_the_right_digest_is_refused(fetcher: Fetcher) -> None:
    swapped = replace(DEBS[1].package(), name="p0")
    with pytest.raises(
        PiimageError, match=r"the file is p1 1\.0 \(arm64\), not the locked package"
    ):
        fetcher.fetch([swapped])
    assert blobs(fetcher.store) == []
    fetcher.fetch([DEBS[1].package()])
    with pytest.raises(PiimageError, match="the file is p1"):
        fetcher.fetch([swapped])


@pytest.mark.provokes("debian.deb-damaged")
def test_a_file_with_the_right_digest_that_is_not_a_package_is_refused(
    fetcher: Fetcher, folder: ArchiveFolder
) -> None:
    data = b"no package at all"
    package = replace(DEBS[0].package(), size=len(data), sha256=hashlib.sha256(data).hexdigest())
    (folder.root / package.path).write_bytes(data)
    with pytest.raises(PiimageError, match=r"p0 1\.0 \(arm64\): damaged package"):
        fetcher.fetch([package])
    assert blobs(fetcher.store) == []


@pytest.mark.provokes("debian.package-altered")
@pytest.mark.parametrize("spoil", [lambda d: d[:-1] + b"X", lambda d: d + b"X", lambda d: d[:-1]])
def test_an_altered_package_is_refused_and_not_kept(
    fetcher: Fetcher, folder: ArchiveFolder, spoil: object
) -> None:
    assert callable(spoil)
    package = DEBS[0].package()
    file = folder.root / package.path
    file.write_bytes(spoil(file.read_bytes()))
    with pytest.raises(
        PiimageError, match=r"p0 1\.0 \(arm64\): the file in .* is not the pinned package"
    ):
        fetcher.fetch([package])
    assert blobs(fetcher.store) == []


@pytest.mark.provokes("debian.package-gone")
def test_the_error_of_a_package_that_left_the_archive_tells_how_to_move_its_pin(
    fetcher: Fetcher, folder: ArchiveFolder
) -> None:
    package = DEBS[0].package()
    (folder.root / package.path).unlink()
    with pytest.raises(PiimageError, match=r"piimage lock --update p0.*--snapshot"):
        fetcher.fetch([package])


def test_a_package_that_left_the_archive_is_fetched_from_the_snapshot(
    fetcher: Fetcher, folder: ArchiveFolder, tmp_path: Path
) -> None:
    package = DEBS[0].package()
    old = tmp_path / "old" / package.path
    old.parent.mkdir(parents=True)
    (folder.root / package.path).rename(old)
    snapshot = choose(str(tmp_path / "old"))
    replace(fetcher, snapshot=snapshot).fetch([package])
    assert fetcher.store.has(package.blob)


@pytest.mark.provokes("debian.package-altered")
def test_an_altered_snapshot_is_refused_too(
    fetcher: Fetcher, folder: ArchiveFolder, tmp_path: Path
) -> None:
    package = DEBS[0].package()
    (folder.root / package.path).unlink()
    altered = tmp_path / "old" / package.path
    altered.parent.mkdir(parents=True)
    altered.write_bytes(DEBS[1].content)
    with pytest.raises(PiimageError, match="is not the pinned package"):
        replace(fetcher, snapshot=choose(str(tmp_path / "old"))).fetch([package])


@pytest.mark.provokes("debian.package-gone")
def test_all_failures_are_reported_together_and_the_rest_is_kept(
    fetcher: Fetcher, folder: ArchiveFolder
) -> None:
    packages = [deb.package() for deb in DEBS[:3]]
    for package in packages[:2]:
        (folder.root / package.path).unlink()
    with pytest.raises(ErrorGroup) as caught:
        fetcher.fetch(packages)
    assert len(caught.value.errors) == 2
    assert fetcher.store.has(packages[2].blob)


def test_packages_of_the_security_suite_are_fetched_from_the_security_archive(
    store: Store, folder: ArchiveFolder, tmp_path: Path
) -> None:
    folder.publish(DEBS)
    fetcher = Fetcher(store, choose(f"{tmp_path / 'empty'},{folder.root}"))
    fetcher.fetch([DEBS[0].package("trixie-security")])
    assert store.has(DEBS[0].package().blob)
