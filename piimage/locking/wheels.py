"""The Python wheels of containers: pinned in the lock, and brought into the store."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

from piimage.config.models import Appliance
from piimage.errors import PiimageError, raise_all
from piimage.lock import Lock, LockedEnvironment, LockedWheel
from piimage.locking.folders import ContainerFolder, entries, folder_of, folder_target
from piimage.python.fetch import WheelFetcher
from piimage.python.target import Target
from piimage.store import Store

Open = Callable[[], AbstractContextManager[WheelFetcher]]
Pinned = tuple[LockedEnvironment, tuple[LockedWheel, ...]]


def folders_with_wheels(appliance: Appliance) -> tuple[ContainerFolder, ...]:
    """Return the container folders that ask for wheels or sources, each once, by their roots."""
    found = (folder_of(entry) for entry in entries(appliance))
    named = {one.root: one for one in found if one is not None and asks_index(one)}
    return tuple(one for _, one in sorted(named.items()))


def asks_index(folder: ContainerFolder) -> bool:
    """Say whether `folder` asks for anything of the Python index."""
    return bool(folder.service.wheels or folder.service.sources)


def asked_wheels(folders: Iterable[ContainerFolder]) -> Mapping[str, Sequence[str]]:
    """Return the Python requirements of each of `folders`, by its root in the lock."""
    return {folder.root: folder.service.wheels for folder in folders}


def asked_sources(folders: Iterable[ContainerFolder]) -> Mapping[str, Sequence[str]]:
    """Return the packages that are built for each of `folders`, by its root in the lock."""
    return {folder.root: folder.service.sources for folder in folders if folder.service.sources}


def wheel_names(lock: Lock | None) -> frozenset[str]:
    """Return the names of all packages that `lock` pins a wheel of."""
    return frozenset(wheel.name for wheel in lock.wheels) if lock is not None else frozenset()


def lock_wheels(
    lock: Lock, folders: Sequence[ContainerFolder], wheels: Open, moving: Collection[str] = ()
) -> Lock:
    """Return `lock` with the wheels of `folders` pinned; all errors at once.

    Pins that it has stay, and nothing is asked of the index, unless the container asks for other
    things, has another Python, or has a wheel that is named in `moving` (``*`` is all).
    """
    errors: list[PiimageError] = []
    found: list[Pinned] = []
    for folder in folders:
        try:
            found.append(_environment(lock, folder, wheels, moving))
        except PiimageError as error:
            errors.append(error)
    raise_all(errors)
    pinned = {wheel.filename: wheel for _, own in found for wheel in own}
    return replace(
        lock,
        environments=tuple(environment for environment, _ in found),
        wheels=tuple(wheel for _, wheel in sorted(pinned.items())),
    )


def _environment(
    lock: Lock, folder: ContainerFolder, wheels: Open, moving: Collection[str]
) -> Pinned:
    target = folder_target(folder, lock)
    python, glibc = target.python, f"2.{target.glibc}"
    wanted = LockedEnvironment(
        folder.root,
        folder.service.wheels,
        target.architecture,
        python,
        glibc,
        (),
        folder.service.sources,
    )
    old = {one.name: one for one in lock.environments}.get(folder.root)
    kept = lock.wheels_of(folder.root) if old is not None else ()
    stays = "*" not in moving and not any(wheel.name in moving for wheel in kept)
    if old is not None and stays and replace(old, wheels=()) == wanted:
        return old, kept
    preferred = [one for one in lock.wheels if one.name not in moving and "*" not in moving]
    pins = _resolved(folder, target, wheels, preferred)
    return replace(wanted, wheels=tuple(pin.filename for pin in pins)), pins


def _resolved(
    folder: ContainerFolder, target: Target, wheels: Open, preferred: Sequence[LockedWheel]
) -> tuple[LockedWheel, ...]:
    place = str(folder.path / "service.yml")
    with wheels() as fetcher:
        if fetcher.resolver is None:
            raise PiimageError(
                "python.not-locked",
                "the lock does not pin its wheels, and with --offline no index may be asked",
                place=place,
                hint="run piimage lock once without --offline",
            )
        own = folder.service
        found = fetcher.resolver.resolve(own.wheels, target, place, preferred, own.sources)
        return tuple(fetcher.complete(one) for one in found)


def fetch_wheels(lock: Lock, wanted: Collection[str], store: Store, wheels: Open) -> None:
    """Have the wheels of `lock` whose SHA-256 is among `wanted` in `store`.

    Raises what `WheelFetcher.fetch` does.
    """
    for target, needed in _by_target(lock, wanted):
        if not all(store.has(one.blob) for one in needed):
            with wheels() as fetcher:
                fetcher.fetch(needed, target)


def _by_target(
    lock: Lock, wanted: Collection[str]
) -> Iterator[tuple[Target, tuple[LockedWheel, ...]]]:
    found: dict[Target, dict[str, LockedWheel]] = {}
    for one in lock.environments:
        minor, glibc = (int(text.partition(".")[2]) for text in (one.python, one.glibc))
        target = Target(minor, glibc, one.architecture)
        own = {wheel.filename: wheel for wheel in lock.wheels_of(one.name)}
        found.setdefault(target, {}).update(
            {name: wheel for name, wheel in own.items() if wheel.sha256 in wanted}
        )
    for target, wheels in found.items():
        if wheels:
            yield target, tuple(wheels.values())
