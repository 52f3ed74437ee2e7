"""Durable files: the helper, and each file that has to survive a power cut."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from piimage import cache, durable
from piimage.lock import Lock
from piimage.locking.current import write_lock
from piimage.store import Store
from tests.unit.durability import Journal, recording


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """Recorded from here on; pytest made its own folder before."""
    with recording() as journal:
        yield journal


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


# --- the recording layer itself: it notices each fault


def _unsynced(target: Path) -> None:
    target.with_name("draft").write_bytes(b"x")
    target.with_name("draft").replace(target)
    durable.sync_folder(target.parent)


def _written_after_sync(target: Path) -> None:
    with target.with_name("draft").open("wb") as file:
        file.write(b"x")
        file.flush()
        os.fsync(file.fileno())
        file.write(b"y")
    target.with_name("draft").replace(target)
    durable.sync_folder(target.parent)


def _folder_unsynced(target: Path) -> None:
    with target.with_name("draft").open("wb") as file:
        os.fsync(file.fileno())
    target.with_name("draft").rename(target)


def _folder_synced_before(target: Path) -> None:
    with target.with_name("draft").open("wb") as file:
        os.fsync(file.fileno())
    durable.sync_folder(target.parent)
    target.with_name("draft").rename(target)


def _in_place(target: Path) -> None:
    with target.open("wb") as file:
        os.fsync(file.fileno())
    durable.sync_folder(target.parent)


def _changed_later(target: Path) -> None:
    durable.write_chunks(target, [b"x"])
    target.chmod(0o600)


def _in_a_folder_that_does_not_last(target: Path) -> None:
    (target.parent / "new").mkdir()
    durable.write_chunks(target.parent / "new/file", [b"x"])
    target.symlink_to("new/file")


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (_unsynced, "before its bytes were synced"),
        (_written_after_sync, "changed after it was synced"),
        (_folder_unsynced, "was not synced after a name"),
        (_folder_synced_before, "was not synced after a name"),
        (_in_place, "without a rename"),
        (_changed_later, "changed after it got its name"),
        (_in_a_folder_that_does_not_last, "was not synced after a name"),
    ],
)
def test_the_recording_layer_notices(
    journal: Journal, tmp_path: Path, fault: Callable[[Path], None], message: str
) -> None:
    fault(tmp_path / "file")
    with pytest.raises(AssertionError, match=message):
        journal.lasts(tmp_path / "file")


# --- the helper


def test_a_written_file_is_durable_and_has_the_requested_mode(
    journal: Journal, tmp_path: Path, umask: int
) -> None:
    for requested in (durable.PUBLIC, durable.PRIVATE):
        path = durable.write_chunks(tmp_path / "file", [b"one ", b"two"], requested)
        journal.lasts(path)
        assert path.read_bytes() == b"one two"
        assert mode(path) == requested
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_file_is_private_until_it_is_complete(tmp_path: Path, umask: int) -> None:
    with durable.beside(tmp_path / "file", durable.PUBLIC) as draft:
        draft.write_bytes(b"half")
        assert [mode(path) for path in tmp_path.iterdir()] == [0o600]
    assert mode(tmp_path / "file") == 0o644


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    durable.write_chunks(tmp_path / "file", [b"old"])

    def chunks() -> Iterator[bytes]:
        yield b"new"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        durable.write_chunks(tmp_path / "file", chunks())
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"old")]


def test_a_new_file_lasts_and_has_the_mode_of_the_umask(
    journal: Journal, tmp_path: Path, umask: int
) -> None:
    durable.create(tmp_path / "file", b"new")
    journal.lasts(tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"new"
    assert mode(tmp_path / "file") == 0o666 & ~umask
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_new_file_never_replaces_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(FileExistsError):
        durable.create(tmp_path / "file", b"new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"old")]


def test_new_folders_are_durable(journal: Journal, tmp_path: Path) -> None:
    durable.make_folder(tmp_path / "a/b/c", 0o700)
    assert mode(tmp_path / "a/b/c") == 0o700
    journal.lasts(durable.write_chunks(tmp_path / "a/b/c/file", [b"x"]))
    durable.make_folder(tmp_path / "a/b/c")


# The limit holds for a whole process: one of its own, where no other thread needs a descriptor.
WITHOUT_DESCRIPTORS = """
import os, resource, sys, threading
from pathlib import Path
from piimage import durable

descriptors = []
with durable.temporary_folder(Path(sys.argv[1]), ".x-") as folder:
    (folder / "file").touch()
    resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
    try:
        while True:
            descriptors.append(os.dup(0))
    except OSError:
        threading.Timer(0.05, lambda: [os.close(number) for number in descriptors]).start()
print(len(descriptors), "were held")
"""


def test_a_temporary_folder_is_removed_although_other_threads_hold_all_file_descriptors(
    tmp_path: Path,
) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT_DESCRIPTORS, tmp_path],
        stdin=subprocess.DEVNULL,
        check=False,
        capture_output=True,
        text=True,
    )
    assert "were held" in ran.stdout, ran.stderr
    assert not list(tmp_path.iterdir())


# --- the files that have to survive


def test_a_blob_is_durable_whichever_way_it_was_added(journal: Journal, tmp_path: Path) -> None:
    store = Store(tmp_path / "deep/store")
    with store.scratch() as folder:
        (folder / "made").write_bytes(b"made")
        blobs = [store.add_bytes(b"bytes"), store.add_stream([b"a", b"b"])]
        blobs.append(store.add_file(folder / "made"))
    for blob in blobs:
        journal.lasts(store.path(blob))


def test_a_memo_of_the_store_is_durable(journal: Journal, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.remember("ab" * 32, {"out": store.add_bytes(b"made")})
    (memo,) = (store.root / "memo").rglob("*.json")
    journal.lasts(memo)
    assert mode(memo) == 0o600


def test_a_lock_file_is_durable(journal: Journal, tmp_path: Path) -> None:
    write_lock(Lock(), tmp_path / "pi4.lock")
    journal.lasts(tmp_path / "pi4.lock")
    assert mode(tmp_path / "pi4.lock") == 0o644


def test_an_export_is_durable_and_private(
    journal: Journal, tmp_path: Path, umask: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds the secrets of the store, such as a layer with a network's passphrase."""
    store = Store(tmp_path / "store")
    store.add_bytes(b"secret")
    out = tmp_path / "out"
    durable.make_folder(out)
    modes: list[int] = []
    real = durable.put
    monkeypatch.setattr(
        durable, "put", lambda draft, target: (modes.append(mode(draft)), real(draft, target))
    )
    cache.export(store, out / "store.tar")
    journal.lasts(out / "store.tar")
    assert (mode(out / "store.tar"), modes) == (0o600, [0o600])
