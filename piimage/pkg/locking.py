"""The lock of one container folder: ``service.lock`` beside its service.yml or Dockerfile.

New requests are added to it without a command of their own, and pins stay; with `locked` the lock
may not change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from piimage.errors import InputError, PiimageError
from piimage.lock import Lock
from piimage.locking.current import Change, current_lock
from piimage.locking.folders import ContainerFolder
from piimage.locking.inputs import Inputs
from piimage.locking.platforms import LockableFolder
from piimage.oci.models import Platform
from piimage.pkg.source import LOCK, Dockerfile, Source

_UNWRITABLE: Final = ("host.gone", "host.path", "host.denied", "host.read-only")


@dataclass(frozen=True)
class Pins:
    """The path of the lock, and what may be done to it.

    `moving` are packages, wheels and images whose pins move (``*``: all).
    """

    path: Path
    moving: frozenset[str] = frozenset()
    locked: bool = False


def lock_path(source: Source) -> Path:
    """Return the path of the lock of `source`."""
    return source.path / LOCK


def folder(source: Source) -> ContainerFolder | None:
    """Return `source` as plans have it; None for a Dockerfile."""
    if isinstance(source.recipe, Dockerfile):
        return None
    return ContainerFolder(f"container/{source.path.name}", source.path, source.recipe)


def base_images(source: Source) -> tuple[str, ...]:
    """Return the images that the Dockerfile of `source` builds on."""
    if not isinstance(source.recipe, Dockerfile):
        return ()
    from piimage.oci import dockerfile  # noqa: PLC0415  # a service.yml does without

    path = source.recipe.path
    return dockerfile.base_images(path.read_text(), source.recipe.arguments, str(path))


def lock_of(source: Source, platforms: Sequence[Platform], pins: Pins, inputs: Inputs) -> Lock:
    """Return the lock that pins all that `source` requests, made or updated if need be.

    Raises InputError ``lock.outgrown`` if `pins` forbid the change, ``pkg.lock-place`` if the lock
    cannot be written, and what reading and resolving raise.
    """
    subject = LockableFolder(folder(source), base_images(source), tuple(platforms))
    change = Change.NONE if pins.locked else Change.UPDATE
    try:
        return current_lock(subject, pins.path, inputs, change, pins.moving)
    except PiimageError as error:
        if error.code not in _UNWRITABLE or error.place != str(pins.path):
            raise
        raise InputError(
            "pkg.lock-place",
            f"the lock cannot be written: {error.message}",
            place=str(pins.path),
            hint="name another path: --lock FILE",
        ) from error
