"""Fetching packages from an archive into the store, several at a time, each checked."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from piimage import events
from piimage.debian import deb
from piimage.debian.mirror import Mirrors, Root
from piimage.debian.package import Package
from piimage.debian.transport import Absent, Transport
from piimage.errors import PiimageError, raise_all
from piimage.run import Runner
from piimage.store import Store

_STEP: Final = "debian-packages"


@dataclass(frozen=True)
class Fetcher:
    """Fetches packages into the store.

    Without `mirrors` nothing is fetched (--offline). `snapshot` is the fallback for packages that
    have left the mirror.
    """

    store: Store
    mirrors: Mirrors | None
    snapshot: Mirrors | None = None
    transport: Transport = field(default_factory=Transport)
    emit: events.Listener = events.ignore
    runner: Runner = field(default_factory=Runner)
    workers: int = 4

    def fetch(self, packages: Iterable[Package]) -> None:
        """Fetch those of `packages` that the store lacks, and check the identity of each.

        A package that was checked once is not read again. A refused file is not kept. Raises
        PiimageError ``debian.package-absent`` (offline), ``debian.package-gone``,
        ``debian.package-altered``, ``debian.deb-swapped``, ``debian.deb-damaged``, and the errors
        of the transport; all at once.
        """
        unchecked = {
            package: None for package in packages if self.store.recall(_memo(package)) is None
        }
        missing = [package for package in unchecked if not self.store.has(package.blob)]
        progress = _Meter(self.emit, len(missing), sum(package.size for package in missing))
        # The largest first, so that it does not run alone at the end.
        ordered = sorted(unchecked, key=lambda package: (-package.size, package.key))
        if ordered:
            with ThreadPoolExecutor(self.workers) as pool:
                errors = list(pool.map(lambda package: self._try(package, progress), ordered))
            raise_all(error for error in errors if error is not None)

    def _try(self, package: Package, progress: _Meter) -> PiimageError | None:
        fresh = not self.store.has(package.blob)
        try:
            if fresh:
                self._download(package, progress)
            # A fresh blob was hashed while it was written.
            path = self.store.path(package.blob) if fresh else self.store.verified(package.blob)
            deb.check_identity(self.runner, path, package)
            self.store.remember(_memo(package), {"": package.blob})
        except PiimageError as error:
            if fresh:
                self.store.path(package.blob).unlink(missing_ok=True)
            return error
        return None

    def _download(self, package: Package, progress: _Meter) -> None:
        if self.mirrors is None:
            raise PiimageError(
                "debian.package-absent",
                "the package is not in the store",
                place=str(package),
                hint="run the command once without --offline",
            )
        for mirrors in (self.mirrors, self.snapshot):
            if mirrors is not None:
                try:
                    self._stream(package, mirrors.of(package.suite), progress)
                except Absent:
                    continue
                return
        raise PiimageError(
            "debian.package-gone",
            f"the package is no longer in the archive ({package.path})",
            place=str(package),
            hint=f"move the pin with piimage lock --update {package.name}, or name an archive that "
            "still has the package with --snapshot",
        )

    def _stream(self, package: Package, root: Root, progress: _Meter) -> None:
        done = 0
        with self.store.writing() as (writer, keep):
            for chunk in self.transport.chunks(root.at(package.path)):
                done += writer.write(chunk)
                if done > package.size:
                    raise _altered(package, root, f"it has more than {package.size} bytes")
                progress.add(len(chunk))
            blob = writer.blob()
            if blob != package.blob:
                raise _altered(package, root, f"it has {blob.size} bytes with {blob.digest}")
            keep(package.blob)


@dataclass
class _Meter:
    """Adds up the fetched bytes of all threads."""

    emit: events.Listener
    count: int
    total: int
    done: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, size: int) -> None:
        with self._lock:
            self.done += size
            title = f"fetch {self.count} packages" if self.count > 1 else "fetch a package"
            self.emit(events.Progress(_STEP, title, self.done, self.total))


def _memo(package: Package) -> str:
    """Return the key under which the store remembers that the identity of a file was checked."""
    words = ("debian-package", package.key, package.version, package.sha256, str(package.size))
    return hashlib.sha256("\0".join(words).encode()).hexdigest()


def _altered(package: Package, root: Root, reason: str) -> PiimageError:
    return PiimageError(
        "debian.package-altered",
        f"the file in {root} is not the pinned package: {reason}",
        place=str(package),
        hint="the file was not kept; use another mirror, or move the pin with "
        f"piimage lock --update {package.name}",
    )
