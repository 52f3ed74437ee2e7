"""The resolution of packages for root file systems: libsolv, with Debian's rules.

libsolv's Python wheel knows only RPM's version order. Therefore each version in the packages and
their relations is replaced by its rank in Debian's order, and libsolv compares plain numbers.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import solv

from piimage.debian import problems, versions
from piimage.debian.index import Index
from piimage.debian.package import Package
from piimage.debian.relations import Alternatives, Relation
from piimage.debian.request import Request
from piimage.debian.universe import (
    Candidate,
    Choice,
    Closure,
    Universe,
    assumed_names,
)
from piimage.errors import InputError, PiimageError, raise_all

_ROUNDS: Final = 8
_LEVELS: Final = (100, 500, 990)  # libsolv's priority of each level, with apt's numbers
_SIGNS: Final = {
    "=": solv.REL_EQ,
    "<<": solv.REL_LT,
    ">>": solv.REL_GT,
    "<=": solv.REL_LT | solv.REL_EQ,
    ">=": solv.REL_GT | solv.REL_EQ,
}


@dataclass(frozen=True)
class Resolution:
    """The packages of each root, sorted by name."""

    roots: Mapping[str, tuple[Package, ...]]

    @property
    def packages(self) -> tuple[Package, ...]:
        """Every package once, sorted by name and architecture."""
        by_key = {package.key: package for packages in self.roots.values() for package in packages}
        return tuple(package for _, package in sorted(by_key.items()))


def resolve(
    indexes: Sequence[Index],
    requests: Sequence[Request],
    preferred: Mapping[str, str] = MappingProxyType({}),
    departed: Sequence[Candidate] = (),
) -> Resolution:
    """Return the packages that each of `requests` needs, without recommended packages.

    All roots of an architecture use the same version of a package. `preferred` maps
    ``name:architecture`` to a version that is kept if the dependencies permit; `departed` are such
    packages that no index lists any more. The first alternative is preferred; of the providers of
    a virtual package, the one with the highest Debian priority, then the first by name.

    Raises InputError ``debian.bad-request``, ``debian.unknown-package``,
    ``debian.unknown-version``, ``debian.virtual-package``, ``debian.two-versions``, and
    PiimageError ``debian.conflict``; several errors at once.
    """
    roots: dict[str, tuple[Package, ...]] = {}
    chosen: dict[str, str] = {}  # versions of the packages of architecture "all"
    for architecture in dict.fromkeys(request.architecture for request in requests):
        own = [request for request in requests if request.architecture == architecture]
        suffixes = (architecture, "all")
        versions_kept = {
            name: version
            for key, version in {**preferred, **chosen}.items()
            for name, _, suffix in [key.partition(":")]
            if suffix in suffixes
        }
        own_departed = [c for c in departed if c.package.architecture in suffixes]
        with Universe(indexes, architecture, versions_kept, own_departed) as universe:
            resolved = _Resolver(universe, own).resolve()
        roots |= resolved
        chosen |= {
            package.key: package.version
            for packages in resolved.values()
            for package in packages
            if package.architecture == "all"
        }
    return Resolution(MappingProxyType({request.root: roots[request.root] for request in requests}))


@dataclass(frozen=True)
class _Requested:
    """One requested package: its name and its permitted versions."""

    name: str
    choice: Choice


class _Resolver:
    """Resolves the roots of one architecture to the same versions of packages."""

    def __init__(self, universe: Universe, requests: Sequence[Request]) -> None:
        self._universe = universe
        self._requests = requests

    def resolve(self) -> dict[str, tuple[Package, ...]]:
        requested = {
            request.root: [_parse_request(text, request.root) for text in request.packages]
            for request in self._requests
        }
        raise_all(
            error
            for root, packages in requested.items()
            for package in packages
            if (error := self._refusal(package, root)) is not None
        )
        choices: Mapping[str, Choice] = self._choices(requested)
        chosen = self._solve_roots(requested, choices)
        while different := _different_versions(chosen):
            choices, chosen = self._unify(requested, choices, *min(different.items()))
        return {root: _sorted(candidates) for root, candidates in chosen.items()}

    def _unify(
        self,
        requested: Mapping[str, list[_Requested]],
        choices: Mapping[str, Choice],
        name: str,
        chosen: Iterable[str],
    ) -> tuple[Mapping[str, Choice], dict[str, list[Candidate]]]:
        """Solve all roots with the highest of the `chosen` versions of `name` that suits all."""
        for version in sorted(chosen, key=versions.key, reverse=True):
            unified = {**choices, name: Choice(version)}
            try:
                return unified, self._solve_roots(requested, unified)
            except PiimageError:
                continue
        raise _two_versions(name)

    def _solve_roots(
        self, requested: Mapping[str, list[_Requested]], choices: Mapping[str, Choice]
    ) -> dict[str, list[Candidate]]:
        chosen: dict[str, list[Candidate]] = {}
        errors: list[PiimageError] = []
        for request in self._requests:
            names = [package.name for package in requested[request.root]]
            without = [name for name in request.without if name not in names]
            assumed = assumed_names(self._universe, without) - set(names)
            closure = Closure(self._universe, choices, assumed)
            closure.grow(names)
            try:
                chosen[request.root] = _solve(closure, names, request.root)
            except PiimageError as error:
                errors.append(error)
        raise_all(errors)
        return chosen

    def _choices(self, requested: Mapping[str, list[_Requested]]) -> dict[str, Choice]:
        choices: dict[str, Choice] = {}
        for packages in requested.values():
            for package in packages:
                if package.choice == Choice():
                    continue
                if choices.setdefault(package.name, package.choice) != package.choice:
                    raise _two_versions(package.name)
        return choices

    def _refusal(self, requested: _Requested, root: str) -> PiimageError | None:
        name, choice = requested.name, requested.choice
        packages = [candidate.package for candidate in self._universe.named(name)]
        if any(choice.allows(package) for package in packages):
            return None
        if packages:
            available = (f"{package.version} ({package.suite})" for package in packages)
            return InputError(
                "debian.unknown-version",
                f"the archive does not have {name} in {choice.version or choice.suite}",
                place=root,
                hint=f"it has {', '.join(available)}",
            )
        if providers := sorted({c.package.name for c in self._universe.providing(name)}):
            return InputError(
                "debian.virtual-package",
                f"{name} is a virtual package",
                place=root,
                hint=f"request a package that provides it: {', '.join(providers[:5])}",
            )
        similar = self._universe.similar(name)
        question = f"did you mean {' or '.join(similar)}?"
        return InputError(
            "debian.unknown-package",
            f"there is no package {name} for {self._universe.architecture}",
            place=root,
            hint=question if similar else "check the name and the components",
        )


def _parse_request(text: str, root: str) -> _Requested:
    name, equals, version = text.partition("=")
    suite = ""
    if not equals:
        name, slash, suite = text.partition("/")
        equals = slash
    if not name or (equals and not (version or suite)) or set(text) & set(" \t,|()"):
        raise InputError(
            "debian.bad-request",
            f"{text!r} does not name a package",
            place=root,
            hint="write name, name=version or name/suite",
        )
    return _Requested(name, Choice(version, suite))


def _different_versions(chosen: Mapping[str, Iterable[Candidate]]) -> dict[str, list[str]]:
    """Return the versions of the packages that have more than one version in the roots."""
    by_name: dict[str, set[str]] = defaultdict(set)
    for candidates in chosen.values():
        for candidate in candidates:
            by_name[candidate.package.name].add(candidate.package.version)
    return {name: sorted(several) for name, several in by_name.items() if len(several) > 1}


def _two_versions(name: str) -> PiimageError:
    return InputError(
        "debian.two-versions",
        f"the roots need different versions of {name}",
        hint="request the same version (name=version or name/suite) everywhere",
    )


def _sorted(candidates: Iterable[Candidate]) -> tuple[Package, ...]:
    packages = (candidate.package for candidate in candidates)
    return tuple(sorted(packages, key=lambda package: package.name))


def _solve(closure: Closure, names: Sequence[str], root: str) -> list[Candidate]:
    """Solve repeatedly, until the preferences are those of the chosen packages.

    The first round uses the preferences of all candidates, but those of a package that is not
    chosen (such as another version of the kernel) must not count.
    """
    problem = _Problem(closure)
    chosen = list(closure.candidates)
    favored: list[str] | None = None
    for _ in range(_ROUNDS):
        before, favored = favored, _favored(closure, chosen)
        if before == favored:
            break
        solver = problem.pool.Solver()
        conflicts = solver.solve(problem.jobs(names, favored))
        if conflicts:
            raise problems.explain(conflicts, problem.of_id, problem.texts, root)
        chosen = [problem.of_id[solvable.id] for solvable in solver.transaction().newsolvables()]
    return chosen


class _Problem:
    """A closure in libsolv's terms."""

    def __init__(self, closure: Closure) -> None:
        self.closure = closure
        self.pool: Any = solv.Pool()
        self.pool.setarch("noarch")
        self.of_id: dict[int, Candidate] = {}
        self.texts: dict[int, str] = {}
        self._repos = [self._repo(level) for level in range(len(_LEVELS))]
        self._ranks = _ranks(closure.candidates)
        for candidate in closure.candidates:
            self._add(candidate)
        self.pool.createwhatprovides()

    def jobs(self, names: Sequence[str], favored: Sequence[str]) -> list[Any]:
        """Return the jobs that install `names` and favour `favored`; the last has most weight."""
        install = solv.Job.SOLVER_INSTALL | solv.Job.SOLVER_SOLVABLE_NAME
        favor = solv.Job.SOLVER_FAVOR | solv.Job.SOLVER_SOLVABLE_NAME
        jobs = [self.pool.Job(install, self.pool.str2id(name)) for name in names]
        return jobs + [self.pool.Job(favor, self.pool.str2id(name)) for name in favored]

    def _repo(self, level: int) -> Any:  # noqa: ANN401  # the bindings have no types
        repo = self.pool.add_repo(str(level))
        repo.priority = _LEVELS[level]
        return repo

    def _add(self, candidate: Candidate) -> None:
        package = candidate.package
        solvable = self._repos[candidate.level].add_solvable()
        self.of_id[solvable.id] = candidate
        solvable.name = package.name
        solvable.evr = self._rank(package.name, package.version)
        solvable.arch = "noarch"
        for provided in (Relation(package.name, "=", package.version), *candidate.provides):
            solvable.add_provides(self._dep(Relation(provided.name)))
            if provided.sign:
                solvable.add_provides(self._dep(provided))
        for group in self.closure.groups(candidate):
            solvable.add_requires(self._any(group))
        for conflict in candidate.conflicts:
            # A package may conflict with a name that it provides itself (Policy 7.6.2).
            solvable.add_conflicts(self._dep(conflict))

    def _any(self, group: Alternatives) -> Any:  # noqa: ANN401
        dep = self._dep(group[-1])
        for relation in reversed(group[:-1]):
            dep = self._dep(relation).Rel(solv.REL_OR, dep)
        self.texts[dep.id] = " | ".join(str(relation) for relation in group)
        return dep

    def _dep(self, relation: Relation) -> Any:  # noqa: ANN401
        # With RPM, an unversioned provide satisfies any version; with Debian, none. Therefore a
        # relation without a version uses another name than a relation with a version.
        dep = self.pool.Dep(relation.name if relation.sign else f"{relation.name} (any)")
        if relation.sign:
            rank = self.pool.Dep(self._rank(relation.name, relation.version))
            dep = dep.Rel(_SIGNS[relation.sign], rank)
        self.texts.setdefault(dep.id, str(relation))
        return dep

    def _rank(self, name: str, version: str) -> str:
        return str(self._ranks[name, versions.key(version)])


def _ranks(candidates: Iterable[Candidate]) -> dict[tuple[str, versions.Key], int]:
    """Return the rank, in Debian's order, of each version that occurs with a name."""
    mentioned: dict[str, set[versions.Key]] = defaultdict(set)
    for candidate in candidates:
        for relation in _mentioned(candidate):
            if relation.sign:
                mentioned[relation.name].add(versions.key(relation.version))
    return {
        (name, key): rank
        for name, keys in mentioned.items()
        for rank, key in enumerate(sorted(keys), 1)
    }


def _mentioned(candidate: Candidate) -> Iterator[Relation]:
    yield Relation(candidate.package.name, "=", candidate.package.version)
    yield from candidate.provides
    yield from candidate.conflicts
    for group in candidate.depends:
        yield from group


def _favored(closure: Closure, candidates: Iterable[Candidate]) -> list[str]:
    """Return the names that `candidates` prefer in any dependency, the most preferred last."""
    first: set[str] = set()
    lost: Counter[str] = Counter()
    priorities: dict[str, int] = {}
    groups = dict.fromkeys(group for candidate in candidates for group in closure.groups(candidate))
    for group in groups:
        ordered = list(dict.fromkeys(_by_preference(closure, group)))
        if len(ordered) > 1:
            first.add(ordered[0].package.name)
            lost.update(candidate.package.name for candidate in ordered[1:])
            priorities |= {candidate.package.name: candidate.priority for candidate in ordered}
    return sorted(first, key=lambda name: (lost[name], priorities[name], name), reverse=True)


def _by_preference(closure: Closure, group: Alternatives) -> Iterator[Candidate]:
    for relation in group:
        yield from closure.allowed(relation.name)
        providers = (c for c in closure.universe.providing(relation.name) if closure.permits(c))
        yield from sorted(
            providers, key=lambda provider: (provider.priority, provider.package.name)
        )
