"""The lock file of an appliance or of a container folder: read, made, updated, or refused."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

from piimage.debian.request import Request
from piimage.durable import write_chunks
from piimage.events import Note
from piimage.lock import Lock, changes, outgrown, outgrown_error, read_lock, render_lock
from piimage.locking.folders import ContainerFolder, with_wheels
from piimage.locking.inputs import Inputs


@dataclass(frozen=True)
class Requested:
    """What a lock has to pin: packages, images by reference, and the wheels of folders."""

    packages: tuple[Request, ...]
    images: tuple[str, ...]
    folders: tuple[ContainerFolder, ...]

    def missing_from(self, lock: Lock) -> tuple[str, ...]:
        """Return one line for each thing that `lock` was not made for."""
        folders = with_wheels(self.folders)
        wheels = {folder.root: folder.service.wheels for folder in folders}
        sources = {folder.root: folder.service.sources for folder in folders}
        return outgrown(lock, self.packages, self.images, wheels, sources)


class Lockable(Protocol):
    """What a lock is made for: an appliance, or a container folder."""

    def requested(self, lock: Lock) -> Requested:
        """Return what has to be pinned, as far as `lock` decides it: by its kernel, say."""

    def resolve(self, inputs: Inputs, old: Lock | None, moving: Collection[str]) -> Lock:
        """Return a lock of everything requested.

        Pins of `old` stay, but for the packages, wheels and images in `moving` (``*`` is all).
        """


class Change(Enum):
    """How `current_lock` may change a lock file; the value is the hint if it may not."""

    MAKE = "run piimage lock, which keeps all other pins where they are"
    """Make a missing lock; refuse one that was made for something else."""
    UPDATE = ""
    """Make a missing lock, and add to one what is requested now."""
    NONE = "build it once without --locked, and commit the lock"
    """Refuse both."""


def current_lock(
    subject: Lockable,
    path: Path,
    inputs: Inputs,
    change: Change = Change.MAKE,
    moving: Collection[str] = (),
) -> Lock:
    """Return the lock at `path` that pins all that `subject` requests, made or updated if need be.

    Raises InputError ``lock.outgrown`` if the file would have to change beyond `change`, and what
    reading and resolving raise.
    """
    old = existing_lock(path)
    known = old or Lock()
    missing = subject.requested(known).missing_from(known)
    if old is not None and not missing and not moving:
        return old
    if change is Change.NONE or (change is Change.MAKE and old is not None):
        raise outgrown_error(missing or (f"+ {path.name}",), str(path), change.value)
    new = subject.resolve(inputs, old, moving)
    write_lock(new, path)
    for line in changes(old, new) if old is not None else ():
        inputs.emit(Note(line))
    inputs.emit(Note(f"locked {summary(new)} in {path}"))
    return new


def existing_lock(path: Path) -> Lock | None:
    """Return the lock at `path`; None if there is none."""
    return read_lock(path) if path.exists() else None


def write_lock(lock: Lock, path: Path) -> None:
    """Write `lock` to `path`, completely or not at all."""
    write_chunks(path, [render_lock(lock).encode()])


def summary(lock: Lock) -> str:
    """Return how many packages, images and wheels `lock` pins: ``90 packages, 2 wheels``."""
    kinds = {"packages": lock.packages, "images": lock.images, "wheels": lock.wheels}
    return ", ".join(f"{len(pins)} {kind}" for kind, pins in kinds.items() if pins) or "nothing"
