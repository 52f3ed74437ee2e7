"""Which packages a root file system needs: libsolv decides, by Debian's rules.

libsolv's Python wheel knows only RPM's version order. So every version that the packages at hand
mention is replaced by its rank among them, worked out by Debian's order, and libsolv compares
plain numbers.
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
_LEVELS: Final = (100, 500, 990)  # libsolv's priority of each level; apt's numbers
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
        found = {package.key: package for packages in self.roots.values() for package in packages}
        return tuple(package for _, package in sorted(found.items()))


def resolve(
    indexes: Sequence[Index],
    requests: Sequence[Request],
    preferred: Mapping[str, str] = MappingProxyType({}),
    departed: Sequence[Candidate] = (),
) -> Resolution:
    """Return the packages that each of `requests` needs, recommended ones left out.

    One version of a package is used in all roots of an architecture. `preferred` gives a version
    for ``name:architecture`` that is kept where the dependencies permit, `departed` such packages
    that no index lists any more. Of alternatives the first is preferred, of the providers of a
    virtual package the one of the highest Debian priority, then the first by name.

    Raises InputError ``debian.bad-request``, ``debian.unknown-package``,
    ``debian.unknown-version``, ``debian.virtual-package``, ``debian.two-versions``, and
    PiimageError ``debian.conflict``; all at once where there are several.
    """
    roots: dict[str, tuple[Package, ...]] = {}
    chosen: dict[str, str] = {}  # versions of packages for all architectures
    for architecture in dict.fromkeys(request.architecture for request in requests):
        own = [request for request in requests if request.architecture == architecture]
        keys = (architecture, "all")
        wanted = {
            name: version
            for key, version in {**preferred, **chosen}.items()
            for name, _, suffix in [key.partition(":")]
            if suffix in keys
        }
        fitting = [found for found in departed if found.package.architecture in keys]
        with Universe(indexes, architecture, wanted, fitting) as universe:
            found = _Resolver(universe, own).resolve()
        roots |= found
        chosen |= {
            package.key: package.version
            for packages in found.values()
            for package in packages
            if package.architecture == "all"
        }
    return Resolution(MappingProxyType({request.root: roots[request.root] for request in requests}))


@dataclass(frozen=True)
class _Wish:
    """One asked package, taken apart."""

    name: str
    choice: Choice


class _Resolver:
    """Resolves the roots of one architecture, so that they agree on versions."""

    def __init__(self, universe: Universe, requests: Sequence[Request]) -> None:
        self._universe = universe
        self._requests = requests

    def resolve(self) -> dict[str, tuple[Package, ...]]:
        wishes = {
            request.root: [_wish(text, request.root) for text in request.packages]
            for request in self._requests
        }
        raise_all(
            error
            for root, asked in wishes.items()
            for wish in asked
            if (error := self._refusal(wish, root)) is not None
        )
        choices: Mapping[str, Choice] = self._choices(wishes)
        found = self._each(wishes, choices)
        while split := _split(found):
            choices, found = self._joined(wishes, choices, *min(split.items()))
        return {root: _sorted(packages) for root, packages in found.items()}

    def _joined(
        self,
        wishes: Mapping[str, list[_Wish]],
        choices: Mapping[str, Choice],
        name: str,
        chosen: Iterable[str],
    ) -> tuple[Mapping[str, Choice], dict[str, list[Candidate]]]:
        """Settle on one of the `chosen` versions of the package `name` for all roots."""
        for version in sorted(chosen, key=versions.key, reverse=True):
            settled = {**choices, name: Choice(version)}
            try:
                return settled, self._each(wishes, settled)
            except PiimageError:
                continue
        raise _two_versions(name)

    def _each(
        self, wishes: Mapping[str, list[_Wish]], choices: Mapping[str, Choice]
    ) -> dict[str, list[Candidate]]:
        found: dict[str, list[Candidate]] = {}
        errors: list[PiimageError] = []
        for request in self._requests:
            names = [wish.name for wish in wishes[request.root]]
            without = [name for name in request.without if name not in names]
            assumed = assumed_names(self._universe, without) - set(names)
            closure = Closure(self._universe, choices, assumed)
            closure.grow(names)
            try:
                found[request.root] = _solve(closure, names, request.root)
            except PiimageError as error:
                errors.append(error)
        raise_all(errors)
        return found

    def _choices(self, wishes: Mapping[str, list[_Wish]]) -> dict[str, Choice]:
        choices: dict[str, Choice] = {}
        for asked in wishes.values():
            for wish in asked:
                if wish.choice == Choice():
                    continue
                if choices.setdefault(wish.name, wish.choice) != wish.choice:
                    raise _two_versions(wish.name)
        return choices

    def _refusal(self, wish: _Wish, root: str) -> PiimageError | None:
        candidates = self._universe.named(wish.name)
        if any(wish.choice.allows(found.package) for found in candidates):
            return None
        if candidates:
            there = (f"{found.package.version} ({found.package.suite})" for found in candidates)
            return InputError(
                "debian.unknown-version",
                f"{wish.name} is not in the archive as {wish.choice.version or wish.choice.suite}",
                place=root,
                hint=f"it is there as {', '.join(there)}",
            )
        if providers := sorted({str(f.package.name) for f in self._universe.providing(wish.name)}):
            return InputError(
                "debian.virtual-package",
                f"{wish.name} is a virtual package",
                place=root,
                hint=f"ask for one that provides it: {', '.join(providers[:5])}",
            )
        near = self._universe.similar(wish.name)
        hint = f"did you mean {' or '.join(near)}?" if near else "check the name and the components"
        return InputError(
            "debian.unknown-package",
            f"there is no package {wish.name} for {self._universe.architecture}",
            place=root,
            hint=hint,
        )


def _wish(text: str, root: str) -> _Wish:
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
    return _Wish(name, Choice(version, suite))


def _split(found: Mapping[str, Iterable[Candidate]]) -> dict[str, list[str]]:
    """Return the packages of which several versions were chosen, with these."""
    chosen: dict[str, set[str]] = defaultdict(set)
    for candidates in found.values():
        for candidate in candidates:
            chosen[candidate.package.name].add(candidate.package.version)
    return {name: sorted(several) for name, several in chosen.items() if len(several) > 1}


def _two_versions(name: str) -> PiimageError:
    return InputError(
        "debian.two-versions",
        f"the roots need different versions of {name}",
        hint="ask for the same version (name=version or name/suite) everywhere",
    )


def _sorted(candidates: Iterable[Candidate]) -> tuple[Package, ...]:
    return tuple(sorted((found.package for found in candidates), key=lambda found: found.name))


def _solve(closure: Closure, names: Sequence[str], root: str) -> list[Candidate]:
    """Solve again until the preferences are those of the packages that are chosen.

    At first all candidates have a say; but what a package that is not taken would prefer (another
    version of the kernel, say) must not count.
    """
    problem = _Problem(closure)
    chosen = list(closure.candidates)
    favored: list[str] | None = None
    for _ in range(_ROUNDS):
        before, favored = favored, _favored(closure, chosen)
        if before == favored:
            break
        solver = problem.pool.Solver()
        solver.set_flag(solv.Solver.SOLVER_FLAG_IGNORE_RECOMMENDED, 1)
        found = solver.solve(problem.jobs(names, favored))
        if found:
            raise problems.explain(found, problem.of_id, problem.texts, root)
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
        """Ask for `names`, and favour some; in libsolv the last favour weighs most."""
        install = solv.Job.SOLVER_INSTALL | solv.Job.SOLVER_SOLVABLE_NAME
        favor = solv.Job.SOLVER_FAVOR | solv.Job.SOLVER_SOLVABLE_NAME
        wanted = [self.pool.Job(install, self.pool.str2id(name)) for name in names]
        return wanted + [self.pool.Job(favor, self.pool.str2id(name)) for name in favored]

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
            # Nothing conflicts with itself, even by a name that it provides (Policy 7.6.2).
            solvable.add_conflicts(self._dep(conflict))

    def _any(self, group: Alternatives) -> Any:  # noqa: ANN401
        dep = self._dep(group[-1])
        for relation in reversed(group[:-1]):
            dep = self._dep(relation).Rel(solv.REL_OR, dep)
        self.texts[dep.id] = " | ".join(str(relation) for relation in group)
        return dep

    def _dep(self, relation: Relation) -> Any:  # noqa: ANN401
        # RPM lets what is provided without a version satisfy any version, Debian none: a name
        # without a version is therefore another name than one with.
        dep = self.pool.Dep(relation.name if relation.sign else f"{relation.name} (any)")
        if relation.sign:
            rank = self.pool.Dep(self._rank(relation.name, relation.version))
            dep = dep.Rel(_SIGNS[relation.sign], rank)
        self.texts.setdefault(dep.id, str(relation))
        return dep

    def _rank(self, name: str, version: str) -> str:
        return str(self._ranks[name, versions.key(version)])


def _ranks(candidates: Iterable[Candidate]) -> dict[tuple[str, versions.Key], int]:
    """Number all versions of each name that are mentioned, in Debian's order."""
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
    """Return the names that `candidates` choose first somewhere, the most preferred last."""
    first: set[str] = set()
    beaten: Counter[str] = Counter()
    standing: dict[str, int] = {}
    groups = dict.fromkeys(group for candidate in candidates for group in closure.groups(candidate))
    for group in groups:
        ordered = list(dict.fromkeys(_by_preference(closure, group)))
        if len(ordered) > 1:
            first.add(ordered[0].package.name)
            beaten.update(found.package.name for found in ordered[1:])
            standing |= {found.package.name: found.standing for found in ordered}
    return sorted(first, key=lambda name: (beaten[name], standing[name], name), reverse=True)


def _by_preference(closure: Closure, group: Alternatives) -> Iterator[Candidate]:
    for relation in group:
        yield from (found for found in closure.allowed(relation.name))
        providers = (f for f in closure.universe.providing(relation.name) if closure.permits(f))
        yield from sorted(providers, key=lambda found: (found.standing, found.package.name))
