"""The content-addressed store: every package, layer and file system is a file named by its digest.

The blobs lie as in an OCI image layout (``blobs/sha256/HEX``), so that one folder serves both.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shlex
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from piimage import durable, host
from piimage.errors import PiimageError

CHUNK: Final = 1 << 20


@dataclass(frozen=True)
class Blob:
    """The content with this SHA-256 (hexadecimal) and this many bytes."""

    sha256: str
    size: int

    @property
    def digest(self) -> str:
        """The digest as OCI writes it."""
        return f"sha256:{self.sha256}"


class BlobWriter:
    """Writes and hashes a blob that is not yet in the store."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self._size = 0

    def write(self, data: bytes) -> int:
        """Append `data`."""
        self._hash.update(data)
        self._size += len(data)
        return self._file.write(data)

    def blob(self) -> Blob:
        """Return the blob of what was written so far."""
        return Blob(self._hash.hexdigest(), self._size)


def default_root(environment: Mapping[str, str] | None = None) -> Path:
    """Return the store's folder: PIIMAGE_STORE, else the user's cache folder."""
    env = os.environ if environment is None else environment
    if chosen := env.get("PIIMAGE_STORE"):
        return Path(chosen)
    cache = env.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "piimage"


def _require_private(root: Path) -> None:
    status = root.stat()
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid != os.geteuid():
        raise _open_to_others(
            root,
            f"it belongs to the user with the number {status.st_uid}",
            f"chown -R {os.geteuid()} {shlex.quote(str(root))} (as root), or name another folder "
            "in PIIMAGE_STORE",
        )
    if mode & 0o077:
        raise _open_to_others(root, f"its mode is {mode:o}", f"chmod 700 {shlex.quote(str(root))}")


def _open_to_others(root: Path, why: str, remedy: str) -> PiimageError:
    return PiimageError(
        "store.open-to-others",
        f"the store holds secrets, and others may look into it or change it: {why}",
        place=str(root),
        hint=remedy,
    )


class Store:
    """Blobs by digest, and the memory of which step made which blobs."""

    def __init__(self, root: Path) -> None:
        """Take the folder `root`, which is made where it is missing.

        Raises PiimageError ``store.open-to-others`` when it is not its user's alone.
        """
        self.root = root
        self._blobs = root / "blobs" / "sha256"
        self._memos = root / "memo"
        self._temporary = root / "tmp"
        # Layers may hold what only the appliance's owner may see, such as a network's key.
        durable.make_folder(root, 0o700)
        _require_private(root)
        for folder in (self._blobs, self._memos, self._temporary):
            durable.make_folder(folder)

    def path(self, blob: Blob) -> Path:
        """Return where `blob` lies, whether or not it is there."""
        return self._blobs / blob.sha256

    def has(self, blob: Blob) -> bool:
        """Say whether `blob` is there with its full size."""
        try:
            return self.path(blob).stat().st_size == blob.size
        except FileNotFoundError:
            return False

    def verified(self, blob: Blob) -> Path:
        """Return the path of `blob` after reading all of it.

        Raises PiimageError ``store.altered`` and removes the file when its bytes are not the
        digest's, ``store.absent`` when it is not there.
        """
        path = self.path(blob)
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            os.utime(path)  # the time of last use, for the cache's collection
        except FileNotFoundError:
            raise PiimageError(
                "store.absent",
                f"the store has no blob {blob.digest}",
                hint="build without --offline to fetch or make it again",
            ) from None
        if found != blob.sha256:
            path.unlink()
            raise PiimageError(
                "store.altered",
                f"the stored blob {blob.digest} was altered (it hashes to {found})",
                place=str(path),
                hint="it was removed; run the command again to make it anew",
            )
        return path

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """Give a folder on the store's own file system that is gone afterwards."""
        with host.writing(self._temporary), durable.folder_in(self._temporary, "") as folder:
            yield folder

    def add_stream(self, chunks: Iterable[bytes], expected: Blob | None = None) -> Blob:
        """Store the bytes of `chunks`; with `expected`, refuse others (``store.mismatch``)."""
        with self.writing(expected.size if expected else None) as (writer, keep):
            for chunk in chunks:
                writer.write(chunk)
            return keep(expected)

    def add_bytes(self, data: bytes) -> Blob:
        """Store `data`."""
        blob = Blob(hashlib.sha256(data).hexdigest(), len(data))
        return blob if self.has(blob) else self.add_stream([data])

    def add_file(self, path: Path) -> Blob:
        """Move the finished file `path`, which lies in `scratch`, into the store."""
        with path.open("rb") as file:
            blob = Blob(
                hashlib.file_digest(file, "sha256").hexdigest(), os.fstat(file.fileno()).st_size
            )
            os.fchmod(file.fileno(), 0o444)
            os.fsync(file.fileno())
        durable.put(path, self.path(blob))
        return blob

    @contextlib.contextmanager
    def writing(
        self, size: int | None = None
    ) -> Iterator[tuple[BlobWriter, Callable[[Blob | None], Blob]]]:
        """Give a writer, and the function that puts what it wrote into the store.

        What is not kept leaves nothing behind. `size` is what it will have, if that is known.
        """
        with host.writing(self._temporary, size):
            # Not `durable.beside`: the name is known only when all is written and hashed.
            handle, name = tempfile.mkstemp(dir=self._temporary)
        path = Path(name)
        try:
            with host.writing(self._temporary, size, path), os.fdopen(handle, "wb") as file:
                writer = BlobWriter(file)

                def keep(expected: Blob | None) -> Blob:
                    blob = writer.blob()
                    if expected is not None and blob != expected:
                        raise PiimageError(
                            "store.mismatch",
                            f"expected {expected.size} bytes with {expected.digest}, "
                            f"got {blob.size} bytes with {blob.digest}",
                            hint="the source was altered or cut short; nothing of it was kept",
                        )
                    file.flush()
                    os.fchmod(file.fileno(), 0o444)
                    os.fsync(file.fileno())
                    durable.put(path, self.path(blob))
                    return blob

                yield writer, keep
        finally:
            path.unlink(missing_ok=True)

    def recall(self, key: str) -> Mapping[str, Blob] | None:
        """Return what the step with `key` made, if all of it is still there."""
        path = self._memo(key)
        try:
            outputs = {name: Blob(*pair) for name, pair in json.loads(path.read_bytes()).items()}
        except (FileNotFoundError, ValueError, TypeError, AttributeError):
            return None
        if not all(self.has(blob) for blob in outputs.values()):
            return None
        os.utime(path)
        return outputs

    def remember(self, key: str, outputs: Mapping[str, Blob]) -> None:
        """Note that the step with `key` made `outputs`."""
        pairs = {name: [blob.sha256, blob.size] for name, blob in sorted(outputs.items())}
        self.write_beside(self._memo(key), json.dumps(pairs).encode())

    def write_beside(self, target: Path, data: bytes) -> None:
        """Write `data` to `target` (inside the store) so that it is there whole or not at all."""
        durable.make_folder(target.parent)
        with durable.beside(
            target, durable.PRIVATE, size=len(data), scratch=self._temporary
        ) as draft:
            draft.write_bytes(data)

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold the store-wide lock `name`, so that two builds do not make the same thing."""
        folder = self.root / "locks"
        folder.mkdir(exist_ok=True)
        with (folder / name).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _memo(self, key: str) -> Path:
        return self._memos / key[:2] / f"{key[2:]}.json"
