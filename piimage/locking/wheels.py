"""The Python wheels of containers: pinned in the lock, and fetched into the store."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

from piimage.errors import PiimageError, raise_all
from piimage.lock import Lock, LockedEnvironment, LockedWheel
from piimage.locking.folders import ContainerFolder, folder_target
from piimage.python.fetch import WheelFetcher
from piimage.python.target import Target
from piimage.store import Store

Open = Callable[[], AbstractContextManager[WheelFetcher]]
Pinned = tuple[LockedEnvironment, tuple[LockedWheel, ...]]


def wheel_names(lock: Lock | None) -> frozenset[str]:
    """Return the names of all packages that `lock` pins a wheel of."""
    return frozenset(wheel.name for wheel in lock.wheels) if lock is not None else frozenset()


def lock_wheels(
    lock: Lock, folders: Sequence[ContainerFolder], wheels: Open, moving: Collection[str] = ()
) -> Lock:
    """Return `lock` with the wheels of `folders` pinned, and no others; all errors at once.

    Its pins stay, without a question to the index, unless the container has other requirements or
    another Python, or one of its wheels is in `moving` (``*`` is all).
    """
    errors: list[PiimageError] = []
    pins: list[Pinned] = []
    for folder in folders:
        try:
            pins.append(_environment(lock, folder, wheels, moving))
        except PiimageError as error:
            errors.append(error)
    raise_all(errors)
    by_filename = {wheel.filename: wheel for _, own in pins for wheel in own}
    return replace(
        lock,
        environments=tuple(environment for environment, _ in pins),
        wheels=tuple(wheel for _, wheel in sorted(by_filename.items())),
    )


def _environment(
    lock: Lock, folder: ContainerFolder, wheels: Open, moving: Collection[str]
) -> Pinned:
    target = folder_target(folder, lock)
    requested = LockedEnvironment(
        folder.root,
        folder.service.wheels,
        target.architecture,
        target.python,
        f"2.{target.glibc}",
        (),
        folder.service.sources,
    )
    old = {environment.name: environment for environment in lock.environments}.get(folder.root)
    kept = lock.wheels_of(folder.root) if old is not None else ()
    stays = "*" not in moving and not any(wheel.name in moving for wheel in kept)
    if old is not None and stays and replace(old, wheels=()) == requested:
        return old, kept
    resolved = _resolved(folder, target, wheels, list(_preferred(lock, target, moving)))
    return replace(requested, wheels=tuple(wheel.filename for wheel in resolved)), resolved


def _preferred(lock: Lock, target: Target, moving: Collection[str]) -> Iterator[LockedWheel]:
    """Yield the wheels of the same architecture, of any container, that need not move."""
    for environment in lock.environments:
        if environment.architecture == target.architecture and "*" not in moving:
            wheels = lock.wheels_of(environment.name)
            yield from (wheel for wheel in wheels if wheel.name not in moving)


def _resolved(
    folder: ContainerFolder, target: Target, wheels: Open, preferred: Sequence[LockedWheel]
) -> tuple[LockedWheel, ...]:
    place = str(folder.path / "service.yml")
    with wheels() as fetcher:
        if fetcher.resolver is None:
            raise PiimageError(
                "python.not-locked",
                "the lock does not pin its wheels, and --offline does not allow access to an index",
                place=place,
                hint="run piimage lock once without --offline",
            )
        service = folder.service
        resolved = fetcher.resolver.resolve(
            service.wheels, target, place, preferred, service.sources
        )
        return tuple(fetcher.complete(wheel) for wheel in resolved)


def fetch_wheels(lock: Lock, digests: Collection[str], store: Store, wheels: Open) -> None:
    """Fetch the wheels of `lock` whose SHA-256 is among `digests`, if `store` lacks them.

    Raises what `WheelFetcher.fetch` raises.
    """
    for target, needed in _by_target(lock, digests):
        if not all(store.has(wheel.blob) for wheel in needed):
            with wheels() as fetcher:
                fetcher.fetch(needed, target)


def _by_target(
    lock: Lock, digests: Collection[str]
) -> Iterator[tuple[Target, tuple[LockedWheel, ...]]]:
    by_target: dict[Target, dict[str, LockedWheel]] = {}
    for environment in lock.environments:
        versions = (environment.python, environment.glibc)
        minor, glibc = (int(version.partition(".")[2]) for version in versions)
        wheels = by_target.setdefault(Target(minor, glibc, environment.architecture), {})
        for wheel in lock.wheels_of(environment.name):
            if wheel.sha256 in digests:
                wheels[wheel.filename] = wheel
    for target, wheels in by_target.items():
        if wheels:
            yield target, tuple(wheels.values())
