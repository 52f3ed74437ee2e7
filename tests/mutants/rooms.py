"""Which code is tried, by which tests, and which survivors are known and why."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@dataclass(frozen=True)
class Mutant:
    """One change: the file, below the repository, and what becomes of its text."""

    file: str
    line: int
    before: str
    after: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.before}  ->  {self.after}"


@dataclass(frozen=True)
class Room:
    """Code that belongs together, as files below the repository, and the tests that guard it."""

    name: str
    files: tuple[str, ...]
    tests: tuple[str, ...]


@dataclass(frozen=True)
class Accepted:
    """A survivor that may live: the line before and after, wherever it is in the file, and why."""

    file: str
    before: str
    after: str
    reason: str

    def is_(self, mutant: Mutant) -> bool:
        """Whether this is that mutant."""
        return (self.file, self.before, self.after) == (mutant.file, mutant.before, mutant.after)


def rooms(path: Path = HERE / "rooms.toml", root: Path = ROOT) -> dict[str, Room]:
    """The rooms by name; their patterns are those of `Path.glob`."""
    return {
        name: Room(name, _files(root, room["files"]), _files(root, room["tests"]))
        for name, room in tomllib.loads(path.read_text()).items()
    }


def accepted(path: Path = HERE / "accepted.toml") -> Sequence[Accepted]:
    """The survivors that may live."""
    return [Accepted(**entry) for entry in tomllib.loads(path.read_text()).get("accepted", [])]


def _files(root: Path, patterns: Sequence[str]) -> tuple[str, ...]:
    found = {p.relative_to(root).as_posix() for pattern in patterns for p in root.glob(pattern)}
    return tuple(sorted(found))
