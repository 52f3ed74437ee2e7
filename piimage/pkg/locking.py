"""The lock of one container folder: ``service.lock`` beside its service.yml or Dockerfile.

What is asked for anew is added by itself, pins stay; with `locked` the lock has to answer as it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from piimage import events
from piimage.debian.request import Request
from piimage.durable import write_chunks
from piimage.errors import InputError, PiimageError
from piimage.lock import (
    Lock,
    LockedEnvironment,
    LockedRoot,
    LockedWheel,
    changes,
    outgrown,
    read_lock,
    render_lock,
)
from piimage.lock.roots import is_for_building
from piimage.locking.folders import ContainerFolder, folder_requests
from piimage.oci.models import ARM64, Platform
from piimage.pkg.source import LOCK, Dockerfile, Source
from piimage.pkg.workshop import Workshop

_FEW = 8


@dataclass(frozen=True)
class Pins:
    """Where the lock lies, and what may be done to it.

    `moving` are packages and images whose pins move (``*``: all).
    """

    path: Path
    moving: frozenset[str] = frozenset()
    locked: bool = False


def lock_path(source: Source) -> Path:
    """Return where the lock of `source` lies."""
    return source.path / LOCK


def folder(source: Source) -> ContainerFolder | None:
    """Return `source` as plans have it; None for a Dockerfile."""
    if isinstance(source.recipe, Dockerfile):
        return None
    return ContainerFolder(f"container/{source.path.name}", source.path, source.recipe)


def current_lock(
    source: Source, platforms: Sequence[Platform], pins: Pins, workshop: Workshop
) -> Lock:
    """Return the lock that answers all that `source` asks for, made or moved where it has to be.

    Raises InputError ``lock.outgrown`` when `pins` forbid that, ``pkg.lock-place`` when it cannot
    be written, and what reading and resolving raise.
    """
    old = read_lock(pins.path) if pins.path.exists() else None
    wanted = tuple(_requests(source, _architectures(platforms, old)))
    images = base_images(source)
    missing = outgrown(
        old or Lock(), wanted, images, _wheels(source, wanted), _built(source, wanted)
    )
    if old is not None and not missing and not pins.moving:
        return old
    if pins.locked:
        raise _outgrown(missing, pins)
    new = _resolved(wanted, images, old, pins.moving, workshop)
    if _wheels(source, wanted) or _built(source, wanted):
        new = _with_wheels(new, source, platforms, pins.moving, workshop)
    _write(new, pins.path)
    for line in changes(old or Lock(), new) if old is not None else ():
        workshop.emit(events.Note(line))
    count = f"{len(new.packages)} packages, {len(new.images)} images, {len(new.wheels)} wheels"
    workshop.emit(events.Note(f"locked {count} in {pins.path}"))
    return new


def base_images(source: Source) -> tuple[str, ...]:
    """Return the images that the Dockerfile of `source` builds on."""
    if not isinstance(source.recipe, Dockerfile):
        return ()
    from piimage.oci import dockerfile  # noqa: PLC0415  # composing goes without

    place = source.recipe.path
    return dockerfile.base_images(place.read_text(), source.recipe.arguments, str(place))


def for_platform(lock: Lock, platform: Platform) -> Lock:
    """Return the part of `lock` that is for `platform`, its roots named as plans name them.

    What builds runs on the build machine, so it is for all platforms.
    """
    mark = _mark(platform.architecture)
    roots = tuple(
        replace(root, name=root.name.removesuffix(mark))
        for root in lock.roots
        if root.architecture == platform.architecture or is_for_building(root.name)
    )
    keys = {key for root in roots for key in root.packages}
    packages = tuple(package for package in lock.packages if package.key in keys)
    environments = tuple(
        replace(one, name=one.name.removesuffix(mark))
        for one in lock.environments
        if one.architecture == platform.architecture
    )
    wheels = {name for one in environments for name in one.wheels}
    return replace(
        lock,
        roots=roots,
        packages=packages,
        environments=environments,
        wheels=tuple(one for one in lock.wheels if one.filename in wheels),
    )


def _wheels(source: Source, wanted: Sequence[Request]) -> dict[str, Sequence[str]]:
    """Return the Python requirements of `source` for each architecture that is asked for."""
    whole = folder(source)
    if whole is None or not whole.service.wheels:
        return {}
    return {whole.root + _mark(one): whole.service.wheels for one in _shipped(wanted)}


def _built(source: Source, wanted: Sequence[Request]) -> dict[str, Sequence[str]]:
    """Return the packages that are built for `source`, for each architecture as above."""
    whole = folder(source)
    if whole is None or not whole.service.sources:
        return {}
    return {whole.root + _mark(one): whole.service.sources for one in _shipped(wanted)}


def _shipped(roots: Iterable[Request | LockedRoot]) -> list[str]:
    """Return the architectures of what images hold, sorted."""
    found = {one.architecture for one in roots if not is_for_building(_root_name(one))}
    return sorted(found)


def _root_name(one: Request | LockedRoot) -> str:
    return one.root if isinstance(one, Request) else one.name


def _with_wheels(
    lock: Lock,
    source: Source,
    platforms: Sequence[Platform],
    moving: Collection[str],
    workshop: Workshop,
) -> Lock:
    """Return `lock` with wheels for every platform that it has packages for."""
    from piimage.locking.wheels import lock_wheels  # noqa: PLC0415  # a current lock does without

    whole = folder(source)
    assert whole is not None  # noqa: S101  # a Dockerfile asks for no wheels
    known = {one.architecture: one for one in platforms}
    environments: list[LockedEnvironment] = []
    wheels: dict[str, LockedWheel] = {}
    for name in _shipped(lock.roots):
        own = for_platform(lock, known.get(name, Platform(os="linux", architecture=name)))
        pinned = lock_wheels(own, [whole], workshop.sources().wheels, moving)
        environments += (replace(one, name=one.name + _mark(name)) for one in pinned.environments)
        wheels |= {one.filename: one for one in pinned.wheels}
    return replace(
        lock,
        environments=tuple(sorted(environments, key=lambda one: one.name)),
        wheels=tuple(one for _, one in sorted(wheels.items())),
    )


def _mark(architecture: str) -> str:
    return "" if architecture == ARM64.architecture else f"@{architecture}"


def _architectures(platforms: Sequence[Platform], old: Lock | None) -> list[str]:
    """Return whose packages are asked for: what an earlier build locked stays in the lock."""
    known = _shipped(old.roots) if old is not None else []
    return sorted({*known, *(one.architecture for one in platforms)})


def _requests(source: Source, architectures: Sequence[str]) -> Iterator[Request]:
    whole = folder(source)
    for one in folder_requests([whole] if whole else ()):
        if is_for_building(one.root):
            yield one
            continue
        for architecture in architectures:
            root = one.root + _mark(architecture)
            yield replace(one, root=root, architecture=architecture)


def _resolved(
    wanted: Sequence[Request],
    images: Sequence[str],
    old: Lock | None,
    moving: Collection[str],
    workshop: Workshop,
) -> Lock:
    lock = old or Lock()
    if not wanted and not images:
        return Lock()
    sources = workshop.sources()
    if wanted:
        from piimage.locking.packages import Pinning  # noqa: PLC0415  # a current lock does without
        from piimage.locking.requests import release_suites  # noqa: PLC0415

        packages = frozenset(moving) - set(images) - {wheel.name for wheel in lock.wheels}
        pinning = Pinning(sources.archive(), sources.fetcher(), release_suites())
        lock = pinning.lock(wanted, old, packages)
    return replace(lock, images=sources.images().lock(images, lock, moving))


def _write(lock: Lock, path: Path) -> None:
    try:
        write_chunks(path, [render_lock(lock).encode()])
    except PiimageError as error:
        if error.code not in ("host.gone", "host.path", "host.denied", "host.read-only"):
            raise
        raise InputError(
            "pkg.lock-place",
            f"the lock cannot be written: {error.message}",
            place=str(path),
            hint="name a place where it can: --lock FILE",
        ) from error


def _outgrown(missing: Sequence[str], pins: Pins) -> InputError:
    more = [f"... and {len(missing) - _FEW} more"] if len(missing) > _FEW else []
    return InputError(
        "lock.outgrown",
        "\n  ".join(["what is asked for is not what was locked:", *missing[:_FEW], *more]),
        place=str(pins.path),
        hint="build it once without --locked, and commit the lock",
    )
