"""When a lock file is made, updated, left as it is, or refused."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from piimage.debian.package import Package
from piimage.debian.request import Request
from piimage.errors import InputError
from piimage.events import Event, Note
from piimage.lock import Lock, LockedRoot, read_lock
from piimage.locking.current import Change, Requested, current_lock, summary, write_lock
from piimage.locking.inputs import Inputs
from piimage.run import Runner
from piimage.store import Store


def package(name: str) -> Package:
    return Package(name, "1", "arm64", f"p/{name}", 1, "0" * 64, name, "1", "trixie")


def lock_of(*names: str) -> Lock:
    keys = tuple(f"{name}:arm64" for name in names)
    root = LockedRoot("system", names, (), "arm64", keys)
    return Lock(roots=(root,), packages=tuple(package(name) for name in names))


@dataclass
class Subject:
    """Requests `names`, and notes each resolution: the pins so far, and those that move."""

    names: tuple[str, ...]
    resolved: list[tuple[Lock | None, Collection[str]]] = field(default_factory=list)

    def requested(self, lock: Lock) -> Requested:
        return Requested((Request("system", self.names),), (), ())

    def resolve(self, inputs: Inputs, old: Lock | None, moving: Collection[str]) -> Lock:
        self.resolved.append((old, moving))
        return lock_of(*self.names)


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def inputs(store: Store, events: list[Event]) -> Inputs:
    return Inputs(store, Runner(), events.append, lambda: 0.0, offline=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pi.lock"


@pytest.mark.parametrize("change", [Change.MAKE, Change.UPDATE])
def test_a_missing_lock_is_made(
    path: Path, inputs: Inputs, events: list[Event], change: Change
) -> None:
    subject = Subject(("a", "b"))
    assert current_lock(subject, path, inputs, change) == lock_of("a", "b") == read_lock(path)
    assert subject.resolved == [(None, ())]
    assert events == [Note(f"locked 2 packages in {path}")]


@pytest.mark.parametrize("change", Change)
def test_a_current_lock_stays_and_nothing_is_resolved(
    path: Path, inputs: Inputs, events: list[Event], change: Change
) -> None:
    write_lock(lock_of("a"), path)
    subject = Subject(("a",))
    assert current_lock(subject, path, inputs, change) == lock_of("a")
    assert (subject.resolved, events) == ([], [])


def test_an_update_keeps_the_pins_and_tells_the_changes(
    path: Path, inputs: Inputs, events: list[Event]
) -> None:
    write_lock(lock_of("a"), path)
    subject = Subject(("a", "b"))
    assert current_lock(subject, path, inputs, Change.UPDATE) == lock_of("a", "b")
    assert subject.resolved == [(lock_of("a"), ())]
    assert events == [Note("+ b:arm64 1 [00000000]"), Note(f"locked 2 packages in {path}")]


def test_pins_that_are_to_move_are_resolved_again(path: Path, inputs: Inputs) -> None:
    write_lock(lock_of("a"), path)
    subject = Subject(("a",))
    current_lock(subject, path, inputs, Change.UPDATE, {"a"})
    assert subject.resolved == [(lock_of("a"), {"a"})]


@pytest.mark.provokes("lock.outgrown")
@pytest.mark.parametrize(
    ("change", "hint"), [(Change.MAKE, "run piimage lock"), (Change.NONE, "without --locked")]
)
def test_a_lock_that_was_made_for_something_else_is_refused(
    path: Path, inputs: Inputs, change: Change, hint: str
) -> None:
    write_lock(lock_of("a"), path)
    with pytest.raises(InputError, match=r"\+ system: b") as caught:
        current_lock(Subject(("a", "b")), path, inputs, change)
    assert (caught.value.code, caught.value.place) == ("lock.outgrown", str(path))
    assert hint in (caught.value.hint or "")
    assert read_lock(path) == lock_of("a")


def test_a_missing_lock_is_refused_if_nothing_may_change(path: Path, inputs: Inputs) -> None:
    with pytest.raises(InputError, match=r"\+ system: a"):
        current_lock(Subject(("a",)), path, inputs, Change.NONE)
    assert not path.exists()


def test_a_summary_counts_what_there_is() -> None:
    assert summary(lock_of("a", "b")) == "2 packages"
    assert summary(Lock()) == "nothing"
