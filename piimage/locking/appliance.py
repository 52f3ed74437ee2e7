"""The lock of an appliance: what its YAML requests, resolved."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from piimage.board import Board
from piimage.config.models import Appliance
from piimage.config.module_folder import module_folders
from piimage.debian.request import Request
from piimage.lock import Lock
from piimage.locking.current import Requested
from piimage.locking.dockerfiles import base_images, folders_of
from piimage.locking.folders import folders_in, with_wheels
from piimage.locking.grants import record_grants
from piimage.locking.images import references_of
from piimage.locking.inputs import Inputs
from piimage.locking.kernel import locked_kernel, module_requests
from piimage.locking.packages import EVERYTHING
from piimage.locking.requests import requests, suites
from piimage.locking.wheels import lock_wheels, wheel_names


def lock_path(files: Sequence[Path]) -> Path:
    """Return the path of the lock of the YAML `files`: beside the last, which names the whole."""
    return files[-1].with_suffix(".lock")


@dataclass(frozen=True)
class LockableAppliance:
    """An appliance for a board, as the subject of a lock."""

    appliance: Appliance
    board: Board

    def requested(self, lock: Lock) -> Requested:
        """Return what has to be pinned.

        What module builds need depends on the kernel of `lock`; it is left out if there is none.
        """
        folders = folders_in(self.appliance)
        packages = requests(self.appliance, self.board, folders)
        kernel = locked_kernel(lock)
        built = module_folders(self.appliance, self.board)
        if kernel is not None and built:
            packages += tuple(module_requests(built, kernel))
        return Requested(packages, image_references(self.appliance), folders)

    def resolve(self, inputs: Inputs, old: Lock | None, moving: Collection[str] = ()) -> Lock:
        """Return a lock of everything requested; pins of `old` stay, but for those in `moving`.

        The kernel is pinned first, because it decides what module builds need.
        """
        requested = self.requested(Lock())
        pinning = inputs.pinning(suites(self.board))
        packages = frozenset(moving) - set(requested.images) - wheel_names(old)
        first = _of_roots(old, requested.packages) if old is not None else None
        later = _names(old) - _names(first)
        lock = pinning.lock(requested.packages, first, packages - later)
        complete = self.requested(lock)
        if len(complete.packages) > len(requested.packages):
            lock = pinning.lock(complete.packages, _with_kept(lock, old, packages))
        images = inputs.images()
        pins = images.lock(requested.images, lock, moving)
        granted = {image.reference: image for image in old.images} if old is not None else {}
        pins = record_grants(self.appliance, pins, granted, images.execution)
        folders = with_wheels(requested.folders)
        return lock_wheels(replace(lock, images=pins), folders, inputs.wheels, moving)


def image_references(appliance: Appliance) -> tuple[str, ...]:
    """Return every image that the file or a Dockerfile of its folders names, once."""
    bases = (name for folder in folders_of(appliance) for name in base_images(folder))
    return tuple(dict.fromkeys((*references_of(appliance), *bases)))


def _of_roots(old: Lock, requests: Sequence[Request]) -> Lock:
    """Return `old` with the roots of `requests` alone: without those that follow the kernel."""
    names = {request.root for request in requests}
    roots = tuple(root for root in old.roots if root.name in names)
    keys = {key for root in roots for key in root.packages}
    packages = tuple(package for package in old.packages if package.key in keys)
    return replace(old, roots=roots, packages=packages)


def _names(lock: Lock | None) -> set[str]:
    return {package.name for package in lock.packages} if lock is not None else set()


def _with_kept(lock: Lock, old: Lock | None, moving: frozenset[str]) -> Lock:
    """Return `lock` with the pins of `old` that may stay: not `moving`, of no other kernel."""
    if old is None or moving >= EVERYTHING:
        return lock
    same_kernel = locked_kernel(old) == locked_kernel(lock)
    kept = [
        package
        for package in old.packages
        if package.key not in lock.by_key
        and package.name not in moving
        and (same_kernel or not package.source.startswith("linux"))
    ]
    return replace(lock, packages=(*lock.packages, *kept))
