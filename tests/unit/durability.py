"""A recording layer below `os`: the order in which files are synced and renamed.

A file survives a power cut if its bytes were synced before it got its name, and its folder was
synced after that (fsync(2); rename(2) promises order to other processes only). `Journal.lasts`
asserts this order for one file. Python's file objects do not write through `os`, so writes are not
recorded: each sync records the bytes of the file at that time, and a file that is renamed must
have the bytes of its last sync.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Inode = tuple[int, int]


@dataclass(frozen=True)
class Event:
    """One call: `kind` is sync, name or folder; `state` has the bytes and mode of a file then."""

    kind: str
    inode: Inode
    path: str = ""
    state: str = ""


@dataclass
class Journal:
    """The calls of the code under test, in order."""

    events: list[Event] = field(default_factory=list)

    def lasts(self, path: Path | str) -> None:
        """Assert that the file `path` would survive a power cut with its present bytes."""
        target = Path(os.path.realpath(path))
        inode = _inode(target.stat())
        names = self._of(inode, "name")
        assert names, f"{target} got its name without a rename"
        named = self.events[names[-1]]
        assert Path(named.path).name == target.name, f"{target} got its name without a rename"
        assert named.state == _state(target), f"{target} was changed after it got its name"
        before = self.events[: names[-1]]
        synced = [e for e in before if e.kind == "sync" and e.inode == inode]
        assert synced, f"{target} got its name before its bytes were synced"
        assert synced[-1].state == named.state, f"{target} was changed after it was synced"
        self._folder_lasts(target.parent, names[-1])

    def holds(self, path: Path | str) -> None:
        """Assert that `path`, which was written in place, was synced with its present bytes."""
        synced = self._of(_inode(Path(path).stat()), "sync")
        assert synced, f"{path} was not synced"
        assert self.events[synced[-1]].state == _state(path), f"{path} was written after its sync"

    def synced(self, inode: Inode) -> bool:
        """Return whether a file or folder was synced at all."""
        return any(e.kind == "sync" and e.inode == inode for e in self.events)

    def _folder_lasts(self, folder: Path, since: int) -> None:
        inode = _inode(folder.stat())
        after = self.events[since:]
        assert any(e.kind == "sync" and e.inode == inode for e in after), (
            f"{folder} was not synced after a name in it was changed"
        )
        # If the folder itself was made or renamed, its own name must be durable as well.
        placed = self._of(inode, "folder", "name")
        if placed:
            self._folder_lasts(folder.parent, placed[-1])

    def _of(self, inode: Inode, *kinds: str) -> list[int]:
        return [n for n, e in enumerate(self.events) if e.inode == inode and e.kind in kinds]


def _inode(status: os.stat_result) -> Inode:
    return status.st_dev, status.st_ino


def _state(path: str | Path) -> str:
    """Return the present state of the file: a digest of its bytes, and its mode."""
    with Path(path).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return f"{digest} {os.fstat(file.fileno()).st_mode:o}"


@contextmanager
def recording() -> Iterator[Journal]:
    """Record the calls of `os` in the block; each call is still executed."""
    journal = Journal()
    names = ("fsync", "fdatasync", "rename", "replace", "mkdir")
    real = {name: getattr(os, name) for name in names}

    def sync(call: Callable[[int], None]) -> Callable[[int], None]:
        def recorded(descriptor: Any) -> None:
            number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
            call(number)
            status = os.fstat(number)
            state = _state(f"/proc/self/fd/{number}") if stat.S_ISREG(status.st_mode) else ""
            journal.events.append(Event("sync", _inode(status), state=state))

        return recorded

    def name(call: Callable[..., None]) -> Callable[..., None]:
        def recorded(source: Any, target: Any, **options: Any) -> None:
            status = os.lstat(source)
            state = _state(source) if stat.S_ISREG(status.st_mode) else ""
            call(source, target, **options)
            path = os.path.realpath(target)
            journal.events.append(Event("name", _inode(status), path, state))

        return recorded

    def folder(path: Any, *options: Any, **more: Any) -> None:
        real["mkdir"](path, *options, **more)
        journal.events.append(Event("folder", _inode(Path(path).stat()), os.path.realpath(path)))

    wrapped = {
        "fsync": sync(real["fsync"]),
        "fdatasync": sync(real["fdatasync"]),
        "rename": name(real["rename"]),
        "replace": name(real["replace"]),
        "mkdir": folder,
    }
    for key, value in wrapped.items():
        setattr(os, key, value)
    try:
        yield journal
    finally:
        for key, value in real.items():
            setattr(os, key, value)
