from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from piimage import events
from piimage.debian.fetch import Fetcher
from piimage.debian.index import Archive, Suite
from piimage.debian.mirror import choose
from piimage.debian.request import Request
from piimage.errors import InputError
from piimage.lock import Lock, LockedImage, changes
from piimage.locking.packages import EVERYTHING, Pinning
from tests.unit.debian.makers import NOW, ArchiveFolder, Deb

APP = Deb("app", fields={"Depends": "lib"})
LIB1 = Deb("lib", "1.0", fields={"Depends": "base (>= 1)"})
LIB2 = Deb("lib", "2.0", fields={"Depends": "base (>= 1)"})
REQUESTS = [Request("system", ("app",))]


@pytest.fixture
def pinning(archive: Archive, folder: ArchiveFolder) -> Pinning:
    folder.publish([APP, LIB1, Deb("base")])
    return Pinning(archive, Fetcher(archive.store, archive.mirrors), (Suite("trixie"),))


def versions(lock: Lock) -> dict[str, str]:
    return {package.name: package.version for package in lock.packages}


def test_a_lock_has_the_requests_and_the_resolved_packages(pinning: Pinning) -> None:
    lock = pinning.lock(REQUESTS)
    assert versions(lock) == {"app": "1.0", "base": "1.0", "lib": "1.0"}
    (root,) = lock.roots
    assert (root.name, root.asks, root.architecture) == ("system", ("app",), "arm64")
    assert root.packages == ("app:arm64", "base:arm64", "lib:arm64")
    assert [suite.name for suite in lock.suites] == ["trixie"]
    assert lock.of_root("system") == lock.packages


def test_pins_stay_until_they_are_moved(pinning: Pinning, folder: ArchiveFolder) -> None:
    old = pinning.lock(REQUESTS)
    folder.publish([APP, LIB1, LIB2, Deb("base"), Deb("base", "2.0")], date=NOW)
    assert changes(old, pinning.lock(REQUESTS, old)) == ()
    moved = pinning.lock(REQUESTS, old, ["lib"])
    assert versions(moved) == {"app": "1.0", "base": "1.0", "lib": "2.0"}
    everything = pinning.lock(REQUESTS, old, EVERYTHING)
    assert versions(everything) == {"app": "1.0", "base": "2.0", "lib": "2.0"}


def test_a_pin_moves_too_if_a_moved_package_needs_it(
    pinning: Pinning, folder: ArchiveFolder
) -> None:
    old = pinning.lock(REQUESTS)
    new = replace(LIB2, fields={"Depends": "base (>= 2)"})
    folder.publish([APP, LIB1, new, Deb("base"), Deb("base", "2.0")], date=NOW)
    assert versions(pinning.lock(REQUESTS, old, ["lib"]))["base"] == "2.0"


def test_a_new_request_does_not_move_other_pins(pinning: Pinning, folder: ArchiveFolder) -> None:
    old = pinning.lock(REQUESTS)
    folder.publish([APP, LIB1, LIB2, Deb("base"), Deb("more")], date=NOW)
    new = pinning.lock([*REQUESTS, Request("service/more", ("more",))], old)
    assert [line.split(" [")[0] for line in changes(old, new)] == ["+ more:arm64 1.0"]


def test_a_pinned_package_that_left_the_archive_is_kept_if_the_store_has_it(
    pinning: Pinning, folder: ArchiveFolder
) -> None:
    old = pinning.lock(REQUESTS)
    pinning.fetcher.fetch(old.packages)
    (folder.root / LIB1.path).unlink()
    folder.publish([APP, LIB2, Deb("base")], date=NOW)
    assert changes(old, pinning.lock(REQUESTS, old)) == ()


def test_a_pinned_package_that_left_the_archive_is_kept_if_the_snapshot_has_it(
    pinning: Pinning, folder: ArchiveFolder, tmp_path: Path
) -> None:
    old = pinning.lock(REQUESTS)
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    (folder.root / "pool").rename(snapshot / "pool")
    folder.publish([APP, LIB2, Deb("base")], date=NOW)
    fetcher = replace(pinning.fetcher, snapshot=choose(str(snapshot)))
    assert changes(old, replace(pinning, fetcher=fetcher).lock(REQUESTS, old)) == ()


def test_the_pin_of_a_package_that_is_lost_moves_with_a_warning(
    pinning: Pinning, folder: ArchiveFolder
) -> None:
    old = pinning.lock(REQUESTS)
    (folder.root / LIB1.path).unlink()
    folder.publish([APP, LIB2, Deb("base")], date=NOW)
    emitted: list[events.Event] = []
    archive = replace(pinning.archive, emit=emitted.append)
    new = replace(pinning, archive=archive).lock(REQUESTS, old)
    assert versions(new)["lib"] == "2.0"
    warnings = [event.text for event in emitted if isinstance(event, events.Warning)]
    assert len(warnings) == 1
    assert "lib 1.0 (arm64) has left the archive" in warnings[0]


@pytest.mark.provokes("debian.unknown-pin")
def test_only_a_pinned_package_can_be_moved(pinning: Pinning) -> None:
    old = pinning.lock(REQUESTS)
    with pytest.raises(InputError, match="the lock has no package libb"):
        pinning.lock(REQUESTS, old, ["libb"])


def test_images_are_copied_from_the_old_lock(pinning: Pinning) -> None:
    image = LockedImage("example.org/x:1", "sha256:" + "0" * 64, "sha256:" + "1" * 64)
    assert pinning.lock(REQUESTS, Lock(images=(image,))).images == (image,)
