from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from piimage import cache
from piimage.errors import PiimageError
from piimage.store import Blob, Store


def age(path: Path, days: float) -> None:
    then = path.stat().st_mtime - days * 86_400
    os.utime(path, (then, then))


def aged_store(store: Store) -> tuple[Blob, Blob, Blob]:
    """A blob of a step in use, one of a step long unused, and an old package that was fetched."""
    used, unused, fetched = (store.add_bytes(name) for name in (b"used", b"unused", b"fetched"))
    store.remember("aa" * 32, {"out": used})
    store.remember("bb" * 32, {"out": unused})
    for blob in (used, unused, fetched):
        age(store.path(blob), 40)
    age(store.root / "memo" / "bb" / ("bb" * 31 + ".json"), 40)
    return used, unused, fetched


def test_what_no_step_used_for_the_given_days_goes(store: Store) -> None:
    used, unused, fetched = aged_store(store)
    gone = cache.collect(store, 30)
    assert (gone.blobs, gone.steps, gone.size) == (2, 1, len("unused") + len("fetched"))
    assert [store.has(blob) for blob in (used, unused, fetched)] == [True, False, False]


def test_a_blob_that_was_just_read_stays(store: Store) -> None:
    _, unused, fetched = aged_store(store)
    store.verified(fetched)
    cache.collect(store, 30)
    assert [store.has(blob) for blob in (unused, fetched)] == [False, True]


def test_an_exported_store_can_be_imported_elsewhere(store: Store, tmp_path: Path) -> None:
    blob = store.add_bytes(b"made")
    store.remember("ab" * 32, {"out": blob})
    cache.export(store, tmp_path / "store.tar")
    other = Store(tmp_path / "other")
    added = cache.merge(other, tmp_path / "store.tar")
    assert (added.blobs, added.steps) == (1, 1)
    assert other.recall("ab" * 32) == {"out": blob}


@pytest.mark.provokes("cache.no-export")
def test_a_missing_export_is_named(store: Store, tmp_path: Path) -> None:
    with pytest.raises(PiimageError, match="there is no such file"):
        cache.merge(store, tmp_path / "absent.tar")


def exported(tmp_path: Path, name: str, data: bytes) -> Path:
    path = tmp_path / "made.tar"
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.provokes("store.mismatch")
def test_an_altered_blob_is_not_imported(store: Store, tmp_path: Path) -> None:
    with pytest.raises(PiimageError, match="nothing of it was kept"):
        cache.merge(store, exported(tmp_path, f"blobs/sha256/{'0' * 64}", b"evil"))
    assert cache.summary(store).blobs == 0


@pytest.mark.provokes("cache.foreign-entry")
@pytest.mark.parametrize(
    "name",
    [
        "evil", "blobs/sha256/x/y", "blobs/sha256/x", "tmp/x", "index.json", "memo/aa/x.txt",
        "memo/..i/ndex.json", "memo/aa/b.json", "memo/aa/" + "B" * 62 + ".json",
        "memo/aa/" + "b" * 62 + ".json/x", "memo/\xff\n/x.json",
    ],
)  # fmt: skip
def test_what_does_not_belong_into_a_store_is_refused(
    store: Store, tmp_path: Path, name: str
) -> None:
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(PiimageError, match="does not belong"):
        cache.merge(store, exported(tmp_path, name, b'{"": ["' + b"0" * 64 + b'", 0]}'))
    assert sorted(tmp_path.rglob("*")) == sorted([*before, tmp_path / "made.tar"])


MEMO = "memo/aa/" + "b" * 62 + ".json"


@pytest.mark.parametrize(
    "memory",
    [b"x", b"[]", b'{"": 1}', b'{"": ["../../x", 1]}', b'{"": ["' + b"0" * 64 + b'", "1"]}',
     b'{"": ["' + b"0" * 64 + b'", true]}', b'{"": [1, 1]}', b"[" * 100_000],
)  # fmt: skip
def test_a_memory_that_names_no_blobs_is_left_out(
    store: Store, tmp_path: Path, memory: bytes
) -> None:
    cache.merge(store, exported(tmp_path, MEMO, memory))
    assert cache.summary(store).steps == 0


@pytest.mark.provokes("cache.foreign-entry")
def test_a_link_does_not_belong_into_a_store(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "made.tar"
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("blobs/sha256/" + "0" * 64)
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(info)
    with pytest.raises(PiimageError, match="does not belong"):
        cache.merge(store, path)
