"""The packages that a resolution can come across: those asked for and all that they lead to."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType

from piimage.debian import relations
from piimage.debian.catalogue import Reader, Row
from piimage.debian.index import Index
from piimage.debian.package import Package
from piimage.debian.relations import Alternatives, Relation
from piimage.errors import PiimageError


@dataclass(frozen=True, eq=False)
class Candidate:
    """A package that could be chosen, with its relations; there is one object of each.

    `level` orders the suites: 2 for a pinned version, 1 for automatic suites, 0 for others.
    `standing` is Debian's own priority: 0 required to 4 extra.
    """

    package: Package
    depends: tuple[Alternatives, ...]
    conflicts: tuple[Relation, ...]
    provides: tuple[Relation, ...]
    level: int
    standing: int

    def __str__(self) -> str:
        return f"{self.package.name} {self.package.version}"


@dataclass(frozen=True)
class Choice:
    """Which versions of a package may be considered; from ``name=version`` or ``name/suite``."""

    version: str = ""
    suite: str = ""

    def allows(self, package: Package) -> bool:
        """Say whether `package` is one of them."""
        return self.version in ("", package.version) and self.suite in ("", package.suite)


class Universe:
    """All candidates of one architecture, looked up lazily.

    `preferred` gives versions that are taken where the dependencies permit (a lock's pins), and
    `departed` pinned packages that no index lists any more.
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
        """Return the candidates called `name`: of equal versions the first suite's."""
        if name not in self._named:
            found = dict.fromkeys(
                self._candidate(index, row)
                for index, reader in self._readers
                for row in reader.named(name)
            )
            departed = self._departed.get(name)
            self._named[name] = (*found, departed) if departed else tuple(found)
        return self._named[name]

    def providing(self, name: str) -> tuple[Candidate, ...]:
        """Return the candidates that provide the virtual package `name`."""
        if name not in self._provided:
            found = dict.fromkeys(
                self._candidate(index, row)
                for index, reader in self._readers
                for row in reader.providers(name)
            )
            self._provided[name] = tuple(found)
        return self._provided[name]

    def similar(self, name: str) -> list[str]:
        """Return names that `name` may have been meant to be, the likeliest first."""
        known = {found for _, reader in self._readers for found in reader.names(name[:1])}
        near = [found for found in known if abs(len(found) - len(name)) <= 3]
        close = difflib.get_close_matches(name, sorted(near), n=3, cutoff=0.75)
        longer = sorted(found for found in known if found.startswith(f"{name}-"))
        return list(dict.fromkeys((*close, *longer)))[:3]

    def _candidate(self, index: Index, row: Row) -> Candidate:
        # Two suites often list the same file: it is one candidate, of the first suite.
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
    """Return the candidate that `row` describes; PiimageError ``debian.index-damaged``."""
    try:
        depends = relations.parse(row.depends, architecture)
        conflicts = relations.parse(row.conflicts, architecture)
        provides = relations.parse(row.provides, architecture)
    except ValueError as error:
        raise PiimageError(
            "debian.index-damaged",
            f"the archive's index cannot be read: {row.name} {row.version}: {error}",
            place=suite,
            hint="use another mirror",
        ) from error
    package = Package(
        row.name, row.version, row.architecture, row.path, row.size, row.sha256,
        row.source, row.source_version, suite,
    )  # fmt: skip
    single = tuple(group[0] for group in conflicts)
    return Candidate(
        package, depends, single, tuple(group[0] for group in provides), level, row.priority
    )


@dataclass
class Closure:
    """What can be reached from some names, without what is taken as satisfied.

    `groups` are each candidate's dependencies that are left; `names` all names in the order in
    which they were first met.
    """

    universe: Universe
    choices: Mapping[str, Choice]
    assumed: frozenset[str]
    candidates: dict[Candidate, None] = field(default_factory=dict)
    names: dict[str, None] = field(default_factory=dict)

    def grow(self, names: Iterable[str]) -> None:
        """Add the packages `names` and all that they can lead to."""
        waiting = [name for name in names if name not in self.names]
        self.names.update(dict.fromkeys(waiting))
        for name in waiting:  # grows while it is walked
            for found in (*self.allowed(name), *self.universe.providing(name)):
                if found in self.candidates or not self.permits(found):
                    continue
                self.candidates[found] = None
                own = found.package.name
                fresh = [own, *(alt.name for group in self.groups(found) for alt in group)]
                for other in fresh:
                    if other not in self.names:
                        self.names[other] = None
                        waiting.append(other)

    def allowed(self, name: str) -> Iterator[Candidate]:
        """Give the candidates called `name` that may be considered."""
        return (found for found in self.universe.named(name) if self.permits(found))

    def permits(self, found: Candidate) -> bool:
        """Say whether `found` may be considered: not taken as satisfied, and of a fit version."""
        choice = self.choices.get(found.package.name)
        return found.package.name not in self.assumed and (
            choice is None or choice.allows(found.package)
        )

    def groups(self, found: Candidate) -> Iterator[Alternatives]:
        """Give the dependencies of `found` that are not taken as satisfied."""
        return (
            group for group in found.depends if not any(alt.name in self.assumed for alt in group)
        )


def assumed_names(universe: Universe, without: Iterable[str]) -> frozenset[str]:
    """Return the names that count as there when the packages `without` are left out.

    What those provide counts too, or another provider would be drawn in instead.
    """
    names = set(without)
    for name in tuple(names):
        for found in universe.named(name):
            names |= {provided.name for provided in found.provides}
    return frozenset(names)
