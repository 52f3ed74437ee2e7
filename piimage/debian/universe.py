"""The packages that a resolution considers: the requested packages and their dependencies."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType

from piimage.debian import relations
from piimage.debian.catalogue import Reader, Row, damaged
from piimage.debian.index import Index
from piimage.debian.package import Package
from piimage.debian.relations import Alternatives, Relation


@dataclass(frozen=True, eq=False)
class Candidate:
    """A package that the solver may choose, with its relations; there is one object of each.

    `level` orders the suites: 2 for a pinned version, 1 for automatic suites, 0 for others.
    `priority` is Debian's: 0 required ... 4 extra.
    """

    package: Package
    depends: tuple[Alternatives, ...]
    conflicts: tuple[Relation, ...]
    provides: tuple[Relation, ...]
    level: int
    priority: int

    def __str__(self) -> str:
        return f"{self.package.name} {self.package.version}"


@dataclass(frozen=True)
class Choice:
    """The permitted versions of a package, from ``name=version`` or ``name/suite``."""

    version: str = ""
    suite: str = ""

    def allows(self, package: Package) -> bool:
        """Return whether the version of `package` is permitted."""
        return self.version in ("", package.version) and self.suite in ("", package.suite)


class Universe:
    """All candidates of one architecture, looked up lazily.

    `preferred` has the versions to keep if the dependencies permit (the pins of a lock), and
    `departed` the pinned packages that no index lists any more.
    """

    def __init__(
        self,
        indexes: Sequence[Index],
        architecture: str,
        preferred: Mapping[str, str],
        departed: Iterable[Candidate] = (),
    ) -> None:
        self.architecture = architecture
        self._indexes = [index for index in indexes if index.architecture == architecture]
        self._preferred = preferred
        self._departed = {candidate.package.name: candidate for candidate in departed}
        self._named: dict[str, tuple[Candidate, ...]] = {}
        self._provided: dict[str, tuple[Candidate, ...]] = {}
        self._made: dict[tuple[str, str], Candidate] = {}
        self._stack = ExitStack()
        self._readers: list[tuple[Index, Reader]] = []

    def __enter__(self) -> Universe:
        for index in self._indexes:
            for catalogue in index.catalogues:
                reader = catalogue.read()
                self._stack.callback(reader.close)
                self._readers.append((index, reader))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def named(self, name: str) -> tuple[Candidate, ...]:
        """Return the candidates with the name `name`; of equal versions that of the first suite."""
        if name not in self._named:
            candidates = dict.fromkeys(
                self._candidate(index, row)
                for index, reader in self._readers
                for row in reader.named(name)
            )
            departed = self._departed.get(name)
            self._named[name] = (*candidates, departed) if departed else tuple(candidates)
        return self._named[name]

    def providing(self, name: str) -> tuple[Candidate, ...]:
        """Return the candidates that provide the virtual package `name`."""
        if name not in self._provided:
            candidates = dict.fromkeys(
                self._candidate(index, row)
                for index, reader in self._readers
                for row in reader.providers(name)
            )
            self._provided[name] = tuple(candidates)
        return self._provided[name]

    def similar(self, name: str) -> list[str]:
        """Return up to three names of packages that are similar to `name`, the best first."""
        known = {other for _, reader in self._readers for other in reader.names(name[:1])}
        near = [other for other in known if abs(len(other) - len(name)) <= 3]
        close = difflib.get_close_matches(name, sorted(near), n=3, cutoff=0.75)
        longer = sorted(other for other in known if other.startswith(f"{name}-"))
        return list(dict.fromkeys((*close, *longer)))[:3]

    def _candidate(self, index: Index, row: Row) -> Candidate:
        # Two suites often list the same .deb: it becomes one candidate, of the first suite.
        key = (f"{row.name}:{row.architecture}", row.version)
        if key not in self._made:
            self._made[key] = candidate(
                row, index.suite.name, self.architecture, self._level(index, row)
            )
        return self._made[key]

    def _level(self, index: Index, row: Row) -> int:
        if self._preferred.get(row.name) == row.version:
            return 2
        return 1 if index.suite.automatic else 0


def candidate(row: Row, suite: str, architecture: str, level: int) -> Candidate:
    """Return the candidate for `row`; raises PiimageError ``debian.index-damaged``."""
    try:
        depends = relations.parse(row.depends, architecture)
        conflicts = relations.parse(row.conflicts, architecture)
        provides = relations.parse(row.provides, architecture)
    except ValueError as error:
        raise damaged(suite, f"{row.name} {row.version}: {error}") from error
    package = Package(
        row.name, row.version, row.architecture, row.path, row.size, row.sha256,
        row.source, row.source_version, suite,
    )  # fmt: skip
    return Candidate(
        package,
        depends,
        tuple(group[0] for group in conflicts),
        tuple(group[0] for group in provides),
        level,
        row.priority,
    )


@dataclass
class Closure:
    """The candidates reachable from some names, without the names that are `assumed`.

    `names` are all names in the order of their first occurrence.
    """

    universe: Universe
    choices: Mapping[str, Choice]
    assumed: frozenset[str]
    candidates: dict[Candidate, None] = field(default_factory=dict)
    names: dict[str, None] = field(default_factory=dict)

    def grow(self, names: Iterable[str]) -> None:
        """Add the packages `names` and all that they can depend on."""
        waiting = [name for name in names if name not in self.names]
        self.names.update(dict.fromkeys(waiting))
        for name in waiting:  # the loop appends to it
            for candidate in (*self.allowed(name), *self.universe.providing(name)):
                if candidate in self.candidates or not self.permits(candidate):
                    continue
                self.candidates[candidate] = None
                alternatives = (alt.name for group in self.groups(candidate) for alt in group)
                for other in (candidate.package.name, *alternatives):
                    if other not in self.names:
                        self.names[other] = None
                        waiting.append(other)

    def allowed(self, name: str) -> Iterator[Candidate]:
        """Yield the candidates with the name `name` that may be chosen."""
        return (candidate for candidate in self.universe.named(name) if self.permits(candidate))

    def permits(self, candidate: Candidate) -> bool:
        """Return whether `candidate` may be chosen: not assumed, and of a permitted version."""
        package = candidate.package
        choice = self.choices.get(package.name)
        return package.name not in self.assumed and (choice is None or choice.allows(package))

    def groups(self, candidate: Candidate) -> Iterator[Alternatives]:
        """Yield the dependencies of `candidate` that no assumed name satisfies."""
        return (
            group
            for group in candidate.depends
            if not any(alternative.name in self.assumed for alternative in group)
        )


def assumed_names(universe: Universe, without: Iterable[str]) -> frozenset[str]:
    """Return the names that count as installed if the packages `without` are left out.

    They include the names that those packages provide; otherwise another provider is installed.
    """
    names = set(without)
    for name in tuple(names):
        for candidate in universe.named(name):
            names |= {provided.name for provided in candidate.provides}
    return frozenset(names)
