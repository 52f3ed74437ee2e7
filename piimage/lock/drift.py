"""What differs: between two locks, and between a lock and what is asked for now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

from piimage.debian.request import Request
from piimage.errors import InputError
from piimage.lock.model import Lock, LockedRoot

_FEW = 8
_NOTHING: Mapping[str, Sequence[str]] = MappingProxyType({})


def changes(old: Lock, new: Lock) -> tuple[str, ...]:
    """Return one line for each pin that moved, came or went, sorted by kind and name.

    ``~ name old -> new``, ``+ name version``, ``- name version``; nothing when all is the same.
    """
    return (
        *_moved("", _versions(old), _versions(new)),
        *_moved("image ", _images(old), _images(new)),
        *_moved("granted to ", _granted(old), _granted(new)),
        *_moved("wheel ", _wheels(old), _wheels(new)),
    )


def _moved(kind: str, old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name), new.get(name)
        if before is None:
            yield f"+ {kind}{name} {after}".rstrip()
        elif after is None:
            yield f"- {kind}{name} {before}".rstrip()
        elif before != after:
            yield f"~ {kind}{name} {before} -> {after}"


def _versions(lock: Lock) -> Mapping[str, str]:
    # A file that changed under an unchanged version must show as well.
    twice = {package.key: package for package in lock.packages}
    return {key: f"{package.version} [{package.sha256[:8]}]" for key, package in twice.items()}


def _images(lock: Lock) -> Mapping[str, str]:
    return {image.reference: image.digest for image in lock.images}


def _granted(lock: Lock) -> Mapping[str, str]:
    return {f"{image.reference}: {grant}": "" for image in lock.images for grant in image.granted}


def _wheels(lock: Lock) -> Mapping[str, str]:
    # Containers can have different versions of one package.
    found: dict[str, list[str]] = {}
    for wheel in sorted(lock.wheels, key=lambda wheel: wheel.filename):
        found.setdefault(wheel.name, []).append(f"{wheel.version} [{wheel.sha256[:8]}]")
    return {name: ", ".join(versions) for name, versions in found.items()}


def outgrown(
    lock: Lock,
    requests: Sequence[Request],
    images: Iterable[str] = (),
    wheels: Mapping[str, Sequence[str]] = _NOTHING,
    sources: Mapping[str, Sequence[str]] = _NOTHING,
) -> tuple[str, ...]:
    """Return one line for each thing that is asked for otherwise than when `lock` was made.

    `images` are the references of all container images that are asked for, `wheels` the Python
    requirements of each container that has some, `sources` the packages that it has built.
    """
    roots = {root.name: root for root in lock.roots}
    requested = {request.root: request for request in requests}
    lines: list[str] = []
    for name in sorted(roots.keys() | requested.keys()):
        lines += _differences(name, roots.get(name), requested.get(name))
    pinned, wanted = {image.reference for image in lock.images}, set(images)
    lines += [f"+ image {reference}" for reference in sorted(wanted - pinned)]
    lines += [f"- image {reference}" for reference in sorted(pinned - wanted)]
    old = {environment.name: environment.asks for environment in lock.environments}
    for name in sorted(old.keys() | wheels.keys()):
        lines += _listed(name, "wheel ", old.get(name, ()), wheels.get(name, ()))
    built = {environment.name: environment.sources for environment in lock.environments}
    for name in sorted(built.keys() | sources.keys()):
        lines += _listed(name, "source ", built.get(name, ()), sources.get(name, ()))
    return tuple(lines)


def _differences(name: str, root: LockedRoot | None, request: Request | None) -> Iterator[str]:
    if root is None and request is not None:
        yield f"+ {name}: {', '.join(request.packages)}"
    elif request is None:
        yield f"- {name}"
    elif root is not None:
        yield from _listed(name, "", root.asks, request.packages)
        yield from _listed(name, "without ", root.without, request.without)
        if root.architecture != request.architecture:
            yield f"~ {name}: for {root.architecture} -> for {request.architecture}"


def _listed(name: str, kind: str, old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    yield from (f"+ {name}: {kind}{word}" for word in sorted({*new} - {*old}))
    yield from (f"- {name}: {kind}{word}" for word in sorted({*old} - {*new}))


def outgrown_error(lines: Sequence[str], place: str, hint: str) -> InputError:
    """Return the error ``lock.outgrown`` for a lock that differs by `lines` (see `outgrown`)."""
    more = [f"... and {len(lines) - _FEW} more"] if len(lines) > _FEW else []
    return InputError(
        "lock.outgrown",
        "\n  ".join(["what is asked for is not what was locked:", *lines[:_FEW], *more]),
        place=place,
        hint=hint,
    )
