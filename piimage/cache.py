"""The store as a cache: its size, the removal of unused entries, export and import."""

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
    """The number of blobs and remembered steps, and the total size of the blobs in bytes."""

    blobs: int
    steps: int
    size: int


def summary(store: Store) -> Summary:
    """Count the entries of the store."""
    sizes = [path.stat().st_size for path in _blob_files(store)]
    return Summary(len(sizes), len(list(_memo_files(store))), sum(sizes))


def collect(store: Store, unused_days: float) -> Summary:
    """Remove the entries that were not used for `unused_days`; return their count and size."""
    oldest = time.time() - unused_days * _DAY
    stale = [path for path in _memo_files(store) if path.stat().st_mtime < oldest]
    for path in stale:
        path.unlink()
    live = {digest for path in _memo_files(store) for digest in _outputs(path)}
    unused = [
        (path, stat.st_size)
        for path in _blob_files(store)
        if path.name not in live and (stat := path.stat()).st_mtime < oldest
    ]
    for path, _ in unused:
        path.unlink()
    for tree in _trees(store):
        if tree.stat().st_mtime < oldest:
            shutil.rmtree(tree)
    return Summary(len(unused), len(stale), sum(size for _, size in unused))


def export(store: Store, target: Path) -> Summary:
    """Write all blobs and remembered steps to the tar `target`; only its owner may read it."""
    written = summary(store)
    with (
        durable.beside(target, durable.PRIVATE, size=written.size) as draft,
        tarfile.open(draft, "w") as archive,
    ):
        for path in (*_blob_files(store), *_memo_files(store)):
            archive.add(path, str(path.relative_to(store.root)))
    return summary(store)


def merge(store: Store, source: Path) -> Summary:
    """Add the entries of an exported tar; check each blob against its digest before it is kept.

    Raises InputError ``cache.no-export`` if the file does not exist, ``store.mismatch`` for a blob
    that was changed, PiimageError ``cache.foreign-entry`` for an entry that is not of a store.
    """
    before = summary(store)
    try:
        with source.open("rb") as stream:
            for entry in read_tar(stream, str(source)):
                _add(store, entry)
    except FileNotFoundError:
        raise InputError(
            "cache.no-export",
            "there is no such file",
            place=str(source),
            hint="write one with `piimage cache export FILE`",
        ) from None
    after = summary(store)
    return Summary(after.blobs - before.blobs, after.steps - before.steps, after.size - before.size)


def _add(store: Store, entry: Entry) -> None:
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
            f"{entry.path!r} does not belong in a store",
            hint="import only a file that `piimage cache export` wrote",
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
    """Return the unpacked toolchains, which a build unpacks again when needed."""
    return sorted((store.root / "trees").glob("*"))


def _memo_files(store: Store) -> list[Path]:
    return sorted((store.root / "memo").glob("*/*.json"))
