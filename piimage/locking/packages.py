"""Resolving suites and requests to the pins of a lock, and moving pins."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from piimage import events
from piimage.debian import catalogue, deb, solver, universe
from piimage.debian.fetch import Fetcher
from piimage.debian.index import Archive, Index, Suite
from piimage.debian.package import Package
from piimage.debian.request import Request
from piimage.errors import InputError, PiimageError, raise_all
from piimage.lock import Lock, LockedRoot, LockedSuite

EVERYTHING = frozenset({"*"})
"""The value of `moving` that keeps no pin."""


@dataclass(frozen=True)
class Pinning:
    """Resolves requests to a lock; `fetcher` fetches packages that have left the archive."""

    archive: Archive
    fetcher: Fetcher
    suites: tuple[Suite, ...]

    def lock(
        self,
        requests: Sequence[Request],
        old: Lock | None = None,
        moving: Collection[str] = (),
    ) -> Lock:
        """Return the lock of `requests`.

        Pins of `old` are kept as far as the dependencies permit, except those of the packages
        named in `moving` (EVERYTHING: all packages). A pinned package that has left the archive is
        kept if the store or the snapshot archive still has it; otherwise its pin moves, with a
        warning. Images and wheels are copied from `old`. Raises InputError ``debian.unknown-pin``
        for a name in `moving` that `old` does not have, and the errors of `Archive.indexes` and
        `solver.resolve`.
        """
        old = old or Lock()
        kept = _kept(old, moving)
        architectures = list(dict.fromkeys(request.architecture for request in requests))
        known = {suite.name: suite.date for suite in old.suites}
        indexes = self.archive.indexes(self.suites, architectures, known)
        departed = self._departed(kept, indexes, architectures)
        preferred = {package.key: package.version for package in kept}
        resolution = solver.resolve(indexes, requests, preferred, departed)
        return replace(
            old,
            suites=tuple(_suites(indexes)),
            roots=tuple(
                _root(request, resolution.roots[request.root])
                for request in sorted(requests, key=lambda request: request.root)
            ),
            packages=resolution.packages,
        )

    def _departed(
        self, kept: Iterable[Package], indexes: Sequence[Index], architectures: Sequence[str]
    ) -> list[universe.Candidate]:
        """Return the kept packages that no index lists, with the relations in their .debs."""
        candidates: list[universe.Candidate] = []
        for package in _missing(kept, indexes):
            try:
                self.fetcher.fetch([package])
                candidates += [self._candidate(package, name) for name in architectures]
            except PiimageError as error:
                text = f"{package} has left the archive, so its pin moves ({error.message})"
                self.archive.emit(events.Warning(text))
        return candidates

    def _candidate(self, package: Package, architecture: str) -> universe.Candidate:
        path = self.fetcher.store.verified(package.blob)
        fields = deb.control_fields(self.archive.runner, path, str(package))
        row = catalogue.Row(
            name=package.name,
            version=package.version,
            architecture=package.architecture,
            path=package.path,
            size=package.size,
            sha256=package.sha256,
            source=package.source,
            source_version=package.source_version,
            depends=_joined(fields, "pre-depends", "depends"),
            conflicts=_joined(fields, "conflicts", "breaks"),
            provides=fields.get("provides", ""),
            priority=catalogue.priority_rank(fields.get("priority", "optional")),
        )
        return universe.candidate(row, package.suite, architecture, level=2)


def _kept(old: Lock, moving: Collection[str]) -> list[Package]:
    if set(moving) >= EVERYTHING:
        return []
    names = {package.name for package in old.packages}
    raise_all(
        InputError(
            "debian.unknown-pin",
            f"the lock has no package {name}",
            hint="name a package of the lock file, or no package to move all pins",
        )
        for name in moving
        if name not in names
    )
    return [package for package in old.packages if package.name not in moving]


def _missing(kept: Iterable[Package], indexes: Sequence[Index]) -> list[Package]:
    missing = {package.key: package for package in kept}
    for index in indexes:
        for part in index.catalogues:
            with closing(part.read()) as reader:
                for key, package in tuple(missing.items()):
                    if any(row.sha256 == package.sha256 for row in reader.named(package.name)):
                        del missing[key]
    return list(missing.values())


def _joined(fields: Mapping[str, str], *names: str) -> str:
    return ", ".join(fields[name] for name in names if name in fields)


def _suites(indexes: Iterable[Index]) -> Iterable[LockedSuite]:
    by_name = {index.suite.name: index for index in indexes}
    for name, index in sorted(by_name.items()):
        release = index.release
        yield LockedSuite(name, index.suite.components, release.date, release.sha256)


def _root(request: Request, packages: Iterable[Package]) -> LockedRoot:
    return LockedRoot(
        request.root,
        request.packages,
        request.without,
        request.architecture,
        tuple(package.key for package in packages),
    )
