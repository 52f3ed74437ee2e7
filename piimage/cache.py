"""The store seen as a cache: what is in it, what may go, and carrying it to another machine."""

from __future__ import annotations

import json
import re
import shutil
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from piimage import durable
from piimage.errors import InputError, PiimageError
from piimage.store import Blob, Store
from piimage.trees import Entry, Kind, read_tar

_DAY: Final = 86_400.0
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_BLOB: Final = re.compile(r"blobs/sha256/([0-9a-f]{64})")
_MEMO: Final = re.compile(r"memo/([0-9a-f]{2})/([0-9a-f]{62})\.json")
_FOLDER: Final = re.compile(r"blobs(/sha256)?|memo(/[0-9a-f]{2})?")
_MAX_MEMO: Final = 1 << 20


@dataclass(frozen=True)
class Summary:
    """How many blobs and remembered steps, and how many bytes the blobs have."""

    blobs: int
    steps: int
    size: int


def summary(store: Store) -> Summary:
    """Count what the store holds."""
    sizes = [path.stat().st_size for path in _blob_files(store)]
    return Summary(len(sizes), len(list(_memo_files(store))), sum(sizes))


def collect(store: Store, unused_days: float) -> Summary:
    """Remove what no step or command has used for `unused_days`; return what went."""
    oldest = time.time() - unused_days * _DAY
    stale = [path for path in _memo_files(store) if path.stat().st_mtime < oldest]
    for path in stale:
        path.unlink()
    live = {digest for path in _memo_files(store) for digest in _outputs(path)}
    gone = [
        (path, stat.st_size)
        for path in _blob_files(store)
        if path.name not in live and (stat := path.stat()).st_mtime < oldest
    ]
    for path, _ in gone:
        path.unlink()
    for tree in _trees(store):
        if tree.stat().st_mtime < oldest:
            shutil.rmtree(tree)
    return Summary(len(gone), len(stale), sum(size for _, size in gone))


def export(store: Store, target: Path) -> Summary:
    """Write all blobs and memories to the tar `target`, for its owner's eyes only, as the store."""
    written = summary(store)
    with (
        durable.beside(target, durable.PRIVATE, size=written.size) as draft,
        tarfile.open(draft, "w") as archive,
    ):
        for path in (*_blob_files(store), *_memo_files(store)):
            archive.add(path, str(path.relative_to(store.root)))
    return summary(store)


def merge(store: Store, source: Path) -> Summary:
    """Add what `export` wrote; each blob is checked against its name before it is kept.

    Raises InputError ``cache.no-export`` when the file is none, ``store.mismatch`` for a blob that
    was altered.
    """
    before = summary(store)
    try:
        with source.open("rb") as stream:
            for entry in read_tar(stream, str(source)):
                _take(store, entry)
    except FileNotFoundError:
        raise InputError(
            "cache.no-export",
            "there is no such file",
            place=str(source),
            hint="write one with: piimage cache export FILE",
        ) from None
    after = summary(store)
    return Summary(after.blobs - before.blobs, after.steps - before.steps, after.size - before.size)


def _take(store: Store, entry: Entry) -> None:
    if entry.kind is Kind.DIRECTORY and _FOLDER.fullmatch(entry.path):
        return
    blob, memo = _BLOB.fullmatch(entry.path), _MEMO.fullmatch(entry.path)
    if blob and entry.kind is Kind.FILE:
        store.add_stream(entry.content(), expected=Blob(blob[1], entry.size))
    elif memo and entry.kind is Kind.FILE and entry.size <= _MAX_MEMO:
        outputs = _parsed(b"".join(entry.content()))
        if outputs is not None:
            store.remember(memo[1] + memo[2], outputs)
    else:
        raise PiimageError(
            "cache.foreign-entry",
            f"{entry.path!r} does not belong into a store",
            hint="import only what piimage cache export wrote",
        )


def _parsed(memo: bytes) -> dict[str, Blob] | None:
    try:
        outputs = {name: Blob(*pair) for name, pair in json.loads(memo).items()}
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
    return outputs if all(map(_is_blob, outputs.values())) else None


def _is_blob(blob: Blob) -> bool:
    digest, size = blob.sha256, blob.size
    return isinstance(digest, str) and _DIGEST.fullmatch(digest) is not None and type(size) is int


def _outputs(memo: Path) -> Iterator[str]:
    for blob in (_parsed(memo.read_bytes()) or {}).values():
        yield blob.sha256


def _blob_files(store: Store) -> list[Path]:
    return sorted((store.root / "blobs" / "sha256").iterdir())


def _trees(store: Store) -> list[Path]:
    """Return the unpacked toolchains, which are made again from their packages when needed."""
    return sorted((store.root / "trees").glob("*"))


def _memo_files(store: Store) -> list[Path]:
    return sorted((store.root / "memo").glob("*/*.json"))
