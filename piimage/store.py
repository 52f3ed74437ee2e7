"""The content-addressed store: every package, layer and file system is a file named by its digest.

The paths of blobs are those of an OCI image layout (``blobs/sha256/HEX``): one folder is both.
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
        """The digest in the notation of OCI."""
        return f"sha256:{self.sha256}"


class BlobWriter:
    """Writes a new blob and hashes it."""

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
        """Return the blob of the bytes written so far."""
        return Blob(self._hash.hexdigest(), self._size)


def default_root(environment: Mapping[str, str] | None = None) -> Path:
    """Return the folder of the store: PIIMAGE_STORE, or else one in the user's cache folder."""
    env = os.environ if environment is None else environment
    if root := env.get("PIIMAGE_STORE"):
        return Path(root)
    cache = env.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "piimage"


def _require_private(root: Path) -> None:
    status = root.stat()
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid != os.geteuid():
        raise _open_to_others(
            root,
            f"its owner is the user with the ID {status.st_uid}",
            f"run chown -R {os.geteuid()} {shlex.quote(str(root))} as root, or set PIIMAGE_STORE "
            "to another folder",
        )
    if mode & 0o077:
        raise _open_to_others(root, f"its mode is {mode:o}", f"chmod 700 {shlex.quote(str(root))}")


def _open_to_others(root: Path, reason: str, hint: str) -> PiimageError:
    return PiimageError(
        "store.open-to-others",
        f"the store holds secrets, and other users can read or change it: {reason}",
        place=str(root),
        hint=hint,
    )


class Store:
    """Blobs by digest, and a record of the blobs that each step made."""

    def __init__(self, root: Path) -> None:
        """Open the store in the folder `root`; make the folder if it is missing.

        Raises PiimageError ``store.open-to-others`` if other users have access to the folder.
        """
        self.root = root
        self._blobs = root / "blobs" / "sha256"
        self._memos = root / "memo"
        self._temporary = root / "tmp"
        # Layers may hold secrets of the appliance's owner, such as a passphrase of a network.
        durable.make_folder(root, 0o700)
        _require_private(root)
        for folder in (self._blobs, self._memos, self._temporary):
            durable.make_folder(folder)

    def path(self, blob: Blob) -> Path:
        """Return the path of `blob`, whether or not the store has it."""
        return self._blobs / blob.sha256

    def has(self, blob: Blob) -> bool:
        """Return whether the store has `blob`, with its full size."""
        try:
            return self.path(blob).stat().st_size == blob.size
        except FileNotFoundError:
            return False

    def verified(self, blob: Blob) -> Path:
        """Return the path of `blob` after hashing all of it.

        Raises PiimageError ``store.altered`` and removes the file if it has another digest,
        ``store.absent`` if the store does not have it.
        """
        path = self.path(blob)
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            os.utime(path)  # the time of last use, for `piimage cache gc`
        except FileNotFoundError:
            raise PiimageError(
                "store.absent",
                f"the store has no blob {blob.digest}",
                hint="build without --offline to fetch or make the blob again",
            ) from None
        if digest != blob.sha256:
            path.unlink()
            raise PiimageError(
                "store.altered",
                f"the stored blob {blob.digest} was altered (its digest is now sha256:{digest})",
                place=str(path),
                hint="the blob was removed; run the command again to fetch or make it again",
            )
        return path

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """Yield a temporary folder on the file system of the store."""
        with host.writing(self._temporary), durable.temporary_folder(self._temporary, "") as folder:
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
        """Move the finished file `path` from a folder of `scratch` into the store."""
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
        """Yield a writer, and the function that puts the written blob into the store.

        If that function is not called, nothing is kept. `size` is the expected size, if known.
        """
        with host.writing(self._temporary, size):
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
                            hint="the source was altered or truncated; nothing of it was kept",
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
        """Return the outputs of the step with `key` if the store still has all of them."""
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
        """Record that the step with `key` made `outputs`."""
        pairs = {name: [blob.sha256, blob.size] for name, blob in sorted(outputs.items())}
        self.write_beside(self._memo(key), json.dumps(pairs).encode())

    def write_beside(self, target: Path, data: bytes) -> None:
        """Write `data` to `target`, a path inside the store, completely or not at all."""
        durable.make_folder(target.parent)
        with durable.beside(
            target, durable.PRIVATE, size=len(data), scratch=self._temporary
        ) as draft:
            draft.write_bytes(data)

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold the store-wide lock `name`, so that two builds do not make the same step."""
        folder = self.root / "locks"
        folder.mkdir(exist_ok=True)
        with (folder / name).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _memo(self, key: str) -> Path:
        return self._memos / key[:2] / f"{key[2:]}.json"
