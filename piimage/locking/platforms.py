"""The lock of one container folder, for each platform that its image is built for.

A root of the lock names its architecture (``container/x@amd64``), unless that is arm64.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from piimage.lock import Lock
from piimage.lock.roots import is_for_building
from piimage.locking.current import Requested
from piimage.locking.folders import (
    ContainerFolder,
    architecture_mark,
    folder_requests,
    with_wheels,
)
from piimage.locking.inputs import Inputs
from piimage.oci.models import Platform


@dataclass(frozen=True)
class LockableFolder:
    """A container folder as the subject of a lock; `folder` is None if it has a Dockerfile.

    `images` are those that the Dockerfile builds on.
    """

    folder: ContainerFolder | None
    images: tuple[str, ...]
    platforms: tuple[Platform, ...]

    def requested(self, lock: Lock) -> Requested:
        """Return what has to be pinned; architectures that `lock` has stay in it."""
        if self.folder is None:
            return Requested((), self.images, ())
        locked = {root.architecture for root in lock.roots if not is_for_building(root.name)}
        names = sorted(locked | {platform.architecture for platform in self.platforms})
        folders = [self.folder.for_architecture(name) for name in names]
        # Tools of the build machine are requested once, whatever they build for.
        requests = {request.root: request for request in folder_requests(folders)}
        return Requested(tuple(requests.values()), self.images, tuple(folders))

    def resolve(self, inputs: Inputs, old: Lock | None, moving: Collection[str]) -> Lock:
        """Return a lock of everything requested; pins of `old` stay, but for those in `moving`."""
        old = old or Lock()
        requested = self.requested(old)
        lock = Lock()
        if requested.packages:
            from piimage.locking.requests import release_suites  # noqa: PLC0415  # rarely needed

            wheels = {wheel.name for wheel in old.wheels}
            packages = frozenset(moving) - set(self.images) - wheels
            pinning = inputs.pinning(release_suites())
            lock = pinning.lock(requested.packages, old, packages)
        images = inputs.images().lock(self.images, old, moving) if self.images else ()
        lock = replace(lock, images=images)
        folders = with_wheels(requested.folders)
        if folders or lock.environments:
            from piimage.locking.wheels import lock_wheels  # noqa: PLC0415  # rarely needed

            lock = lock_wheels(lock, folders, inputs.wheels, moving)
        return lock


def for_platform(lock: Lock, platform: Platform) -> Lock:
    """Return the part of `lock` for `platform`, with the names of roots that plans expect.

    Tools of the build machine are part of it for every platform.
    """
    mark = architecture_mark(platform.architecture)
    roots = tuple(
        replace(root, name=root.name.removesuffix(mark))
        for root in lock.roots
        if root.architecture == platform.architecture or is_for_building(root.name)
    )
    keys = {key for root in roots for key in root.packages}
    environments = tuple(
        replace(environment, name=environment.name.removesuffix(mark))
        for environment in lock.environments
        if environment.architecture == platform.architecture
    )
    filenames = {name for environment in environments for name in environment.wheels}
    return replace(
        lock,
        roots=roots,
        packages=tuple(package for package in lock.packages if package.key in keys),
        environments=environments,
        wheels=tuple(wheel for wheel in lock.wheels if wheel.filename in filenames),
    )
