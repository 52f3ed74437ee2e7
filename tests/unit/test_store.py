from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from piimage.errors import PiimageError
from piimage.store import Blob, Store, default_root
from tests.unit.durability import recording


def test_a_blob_is_named_by_its_digest(store: Store) -> None:
    blob = store.add_bytes(b"hello")
    assert blob == Blob(hashlib.sha256(b"hello").hexdigest(), 5)
    assert store.path(blob).read_bytes() == b"hello"
    assert store.path(blob).relative_to(store.root) == Path("blobs/sha256", blob.sha256)


def test_stored_blobs_are_read_only(store: Store) -> None:
    assert store.path(store.add_stream([b"a", b"b"])).stat().st_mode & 0o777 == 0o444


@pytest.mark.provokes("store.mismatch")
def test_other_bytes_than_expected_are_refused_and_nothing_is_kept(store: Store) -> None:
    with pytest.raises(PiimageError, match="nothing of it was kept"):
        store.add_stream([b"other"], expected=Blob("0" * 64, 5))
    assert [path for path in store.root.rglob("*") if path.is_file()] == []


def test_an_interrupted_write_leaves_nothing(store: Store) -> None:
    def broken():
        yield b"half"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.add_stream(broken())
    assert [path for path in store.root.rglob("*") if path.is_file()] == []


@pytest.mark.provokes("store.altered")
def test_an_altered_blob_is_refused_named_and_removed(store: Store) -> None:
    blob = store.add_bytes(b"hello")
    store.path(blob).chmod(0o644)
    store.path(blob).write_bytes(b"hallo")
    with pytest.raises(PiimageError, match=blob.sha256):
        store.verified(blob)
    assert not store.has(blob)


@pytest.mark.provokes("store.absent")
def test_the_error_of_an_absent_blob_tells_how_to_get_it(store: Store) -> None:
    with pytest.raises(PiimageError, match="without --offline"):
        store.verified(Blob("1" * 64, 1))


def test_outputs_are_recalled_until_one_of_their_blobs_is_gone(store: Store) -> None:
    blob = store.add_bytes(b"made")
    store.remember("ab" * 32, {"out": blob})
    assert store.recall("ab" * 32) == {"out": blob}
    store.path(blob).unlink()
    assert store.recall("ab" * 32) is None


@pytest.mark.parametrize("memo", [b"", b"{", b"[]", b'{"out": 1}', b'{"out": [1]}', b"\xff"])
def test_a_damaged_memo_counts_as_missing(store: Store, memo: bytes) -> None:
    store.remember("ab" * 32, {})
    (path,) = (store.root / "memo").rglob("*.json")
    path.write_bytes(memo)
    assert store.recall("ab" * 32) is None


def test_the_environment_sets_the_folder_of_the_store() -> None:
    assert default_root({"PIIMAGE_STORE": "/s"}) == Path("/s")
    assert default_root({"XDG_CACHE_HOME": "/c"}) == Path("/c/piimage")


def test_without_a_word_the_store_is_in_the_users_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for environment in ({}, {"PIIMAGE_STORE": "", "XDG_CACHE_HOME": ""}):
        assert default_root(environment) == tmp_path / ".cache" / "piimage"
    monkeypatch.setenv("PIIMAGE_STORE", "/own")
    assert default_root() == Path("/own")


def test_a_finished_file_moves_into_the_store(store: Store) -> None:
    with store.scratch() as folder:
        path = folder / "draft"
        path.write_bytes(b"hello")
        with recording() as journal:
            blob = store.add_file(path)
        assert not path.exists()
    assert not folder.exists()
    assert blob == Blob(hashlib.sha256(b"hello").hexdigest(), 5)
    assert store.verified(blob).read_bytes() == b"hello"
    assert store.path(blob).stat().st_mode & 0o777 == 0o444
    journal.lasts(store.path(blob))


def test_blobs_and_memos_survive_a_power_cut(tmp_path: Path) -> None:
    with recording() as journal:
        store = Store(tmp_path / "cache" / "store")
        blob = store.add_bytes(b"hello")
        store.remember("ab" * 32, {"out": blob})
    (memo,) = (store.root / "memo").rglob("*.json")
    journal.lasts(store.path(blob))
    journal.lasts(memo)
    assert memo.relative_to(store.root) == Path("memo/ab", "ab" * 31 + ".json")
    assert memo.stat().st_mode & 0o777 == 0o600
    assert memo.read_text() == f'{{"out": ["{blob.sha256}", 5]}}'


def test_a_blob_that_is_there_is_not_written_again(store: Store) -> None:
    blob = store.add_bytes(b"hello")
    number = store.path(blob).stat().st_ino
    assert store.add_bytes(b"hello") == blob
    assert store.path(blob).stat().st_ino == number


def test_one_holds_a_lock_at_a_time(store: Store) -> None:
    with store.lock("ab"), store.lock("cd"):
        for name in ("ab", "cd"):
            with (
                (store.root / "locks" / name).open() as file,
                pytest.raises(BlockingIOError),
            ):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with (store.root / "locks" / "ab").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.provokes("store.mismatch")
@pytest.mark.parametrize("data", [b"hell", b"hello!", b"hallo"])
def test_expected_bytes_are_those_of_the_digest_and_the_size(store: Store, data: bytes) -> None:
    blob = Blob(hashlib.sha256(b"hello").hexdigest(), 5)
    assert store.add_stream([b"hel", b"lo"], blob) == blob
    with pytest.raises(PiimageError) as caught:
        store.add_stream([data], blob)
    assert caught.value.message == (
        f"expected 5 bytes with {blob.digest}, got {len(data)} bytes with "
        f"sha256:{hashlib.sha256(data).hexdigest()}"
    )


@pytest.mark.provokes("store.open-to-others")
@pytest.mark.parametrize("mode", [0o750, 0o705, 0o701, 0o770, 0o777, 0o1777])
def test_a_store_open_to_others_is_refused_with_the_command_that_repairs_it(
    tmp_path: Path, mode: int
) -> None:
    root = tmp_path / "a store"
    Store(root)
    root.chmod(mode)
    with pytest.raises(PiimageError, match=f"its mode is {mode:o}") as caught:
        Store(root)
    assert caught.value.hint == f"chmod 700 '{root}'"
    subprocess.run(["sh", "-c", caught.value.hint], check=True)
    Store(root)


@pytest.mark.provokes("store.open-to-others")
def test_a_store_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fake: the test changes the user ID of this process, not that of the folder."""
    Store(tmp_path / "store")
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    with pytest.raises(PiimageError, match="its owner is the user with the ID") as caught:
        Store(tmp_path / "store")
    assert f"chown -R 4711 {tmp_path}/store" in str(caught.value.hint)


def test_a_new_store_is_private(tmp_path: Path) -> None:
    Store(tmp_path / "cache" / "piimage")
    assert (tmp_path / "cache" / "piimage").stat().st_mode & 0o077 == 0


def test_a_blob_of_another_size_counts_as_missing(store: Store) -> None:
    """A power cut or a full disk can leave a file with fewer bytes, or with more."""
    blob = store.add_bytes(b"hello")
    store.remember("ab" * 32, {"out": blob})
    for size in (4, 0, 6):
        store.path(blob).chmod(0o644)
        os.truncate(store.path(blob), size)
        assert not store.has(blob)
        assert store.recall("ab" * 32) is None
    os.truncate(store.path(blob), 0)
    assert store.add_bytes(b"hello") == blob
    assert store.path(blob).read_bytes() == b"hello"
    assert store.has(blob)


def test_use_renews_the_time_of_last_use(store: Store) -> None:
    """`piimage cache gc` depends on these times."""
    blob = store.add_bytes(b"made")
    store.remember("ab" * 32, {"out": blob})
    (memo,) = (store.root / "memo").rglob("*.json")
    for path in (memo, store.path(blob)):
        os.utime(path, (1, 1))
    store.recall("ab" * 32)
    assert memo.stat().st_mtime > 1e9
    assert store.path(blob).stat().st_mtime == 1
    store.verified(blob)
    assert store.path(blob).stat().st_mtime > 1e9
