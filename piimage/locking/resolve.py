"""The verb `lock`: what an appliance asks for, resolved and written down."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from piimage import events
from piimage.boards import Board
from piimage.config.models import Appliance
from piimage.config.module_folder import module_folders
from piimage.debian import mirror, release
from piimage.debian.fetch import Fetcher
from piimage.debian.index import Archive
from piimage.debian.mirror import Mirrors
from piimage.debian.request import Request
from piimage.durable import write_chunks
from piimage.lock import Lock, LockedImage, read_lock, render_lock
from piimage.locking.dockerfiles import Dockerfiles, base_images, folders_of
from piimage.locking.folders import entries, folder_of
from piimage.locking.grants import record_grants
from piimage.locking.images import Images, references_of
from piimage.locking.kernel import locked_kernel, module_requests
from piimage.locking.packages import EVERYTHING, Pinning
from piimage.locking.requests import requests, suites
from piimage.locking.wheels import folders_with_wheels, lock_wheels, wheel_names
from piimage.oci.layout import Layout
from piimage.oci.registry import Access, Registry
from piimage.python import index
from piimage.python.fetch import WheelFetcher
from piimage.python.resolve import Resolver
from piimage.run import Runner
from piimage.store import Store


@dataclass(frozen=True)
class Sources:
    """Where inputs come from: the archive, or the store alone when `offline`."""

    store: Store
    runner: Runner
    emit: events.Listener
    now: Callable[[], float]
    mirror: str | None = None
    snapshot: str | None = None
    offline: bool = False
    access: Access = field(default_factory=Access)
    index: str | None = None
    docker_host: str | None = None
    builder: str | None = None
    keyring: Path | None = None

    def images(self) -> Images:
        """Return where container images come from."""
        return Images(Registry(Layout(self.store), self.runner, self.access), self.offline)

    def dockerfiles(self) -> Dockerfiles:
        """Return what builds Dockerfiles."""
        return Dockerfiles(
            self.store, self.runner, self.emit, self.docker_host, self.builder, self.offline
        )

    def mirrors(self) -> Mirrors | None:
        """Return the archives to fetch from; None when offline."""
        return None if self.offline else mirror.choose(self.mirror)

    @contextmanager
    def wheels(self) -> Iterator[WheelFetcher]:
        """Give what brings Python wheels into the store."""
        if self.offline:
            yield WheelFetcher(self.store, None, emit=self.emit)
            return
        with self.store.scratch() as scratch:
            found = index.choose(self.index, self.runner)
            resolver = Resolver(found, self.runner, scratch)
            yield WheelFetcher(self.store, resolver, emit=self.emit)

    def fetcher(self) -> Fetcher:
        """Return what brings packages into the store."""
        old = mirror.choose(self.snapshot) if self.snapshot else None
        return Fetcher(self.store, self.mirrors(), old, emit=self.emit)

    def archive(self) -> Archive:
        """Return the verified indexes of the archive."""
        return Archive(
            self.store,
            self.runner,
            self.mirrors(),
            release.keyring(self.keyring),
            self.now,
            emit=self.emit,
        )


def lock_path(files: Sequence[Path]) -> Path:
    """Return where the lock of the YAML `files` lies: beside the last, which names the whole."""
    return files[-1].with_suffix(".lock")


def asked_images(appliance: Appliance) -> tuple[str, ...]:
    """Return every image that the file or a Dockerfile of its folders names, once."""
    bases = (name for folder in folders_of(appliance) for name in base_images(folder))
    return tuple(dict.fromkeys((*references_of(appliance), *bases)))


def asked(appliance: Appliance, board: Board, lock: Lock | None = None) -> tuple[Request, ...]:
    """Return what the lock has to answer.

    What module builds ask for depends on the kernel of `lock`; without that it is left out.
    """
    folders = [folder for entry in entries(appliance) if (folder := folder_of(entry)) is not None]
    found = requests(appliance, board, folders)
    kernel = locked_kernel(lock) if lock is not None else None
    if kernel is None or not any(module.build for module in appliance.modules):
        return found
    return (*found, *module_requests(module_folders(appliance), kernel))


def make_lock(
    appliance: Appliance,
    board: Board,
    sources: Sources,
    old: Lock | None,
    moving: Collection[str] = (),
) -> Lock:
    """Resolve everything; pins of `old` stay but for the packages in `moving`."""
    references = asked_images(appliance)
    packages = frozenset(moving) - set(references) - wheel_names(old)
    pinning = Pinning(sources.archive(), sources.fetcher(), suites(board))
    first = _first(old, asked(appliance, board)) if old is not None else None
    late = _names(old) - _names(first)
    lock = pinning.lock(asked(appliance, board), first, packages - late)
    more = asked(appliance, board, lock)
    if len(more) > len(lock.roots):
        lock = pinning.lock(more, _before(lock, old, packages))
    lock = replace(lock, images=_pinned(appliance, references, sources, lock, old, moving))
    return lock_wheels(lock, folders_with_wheels(appliance), sources.wheels, moving)


def _pinned(
    appliance: Appliance,
    references: Sequence[str],
    sources: Sources,
    lock: Lock,
    old: Lock | None,
    moving: Collection[str],
) -> tuple[LockedImage, ...]:
    images = sources.images()
    pins = images.lock(references, lock, moving)
    before = {one.reference: one for one in old.images} if old is not None else {}
    return record_grants(appliance, pins, before, images.execution)


def _first(old: Lock, requests: Sequence[Request]) -> Lock:
    """Return `old` without what was asked for once the kernel was known."""
    wanted = {request.root for request in requests}
    roots = tuple(root for root in old.roots if root.name in wanted)
    keys = {key for root in roots for key in root.packages}
    return replace(old, roots=roots, packages=tuple(p for p in old.packages if p.key in keys))


def _names(lock: Lock | None) -> set[str]:
    return {package.name for package in lock.packages} if lock is not None else set()


def _before(lock: Lock, old: Lock | None, moving: frozenset[str]) -> Lock:
    """Return `lock` with those pins of `old` that may stay: not of another kernel, not `moving`."""
    if old is None or moving >= EVERYTHING:
        return lock
    same = locked_kernel(old) == locked_kernel(lock)
    kept = [
        package
        for package in old.packages
        if package.key not in lock.by_key
        and package.name not in moving
        and (same or not package.source.startswith("linux"))
    ]
    return replace(lock, packages=(*lock.packages, *kept))


def write_lock(lock: Lock, path: Path) -> None:
    """Write `lock` to `path`, whole or not at all."""
    write_chunks(path, [render_lock(lock).encode()])


def existing_lock(path: Path) -> Lock | None:
    """Return the lock at `path`; None if there is none."""
    return read_lock(path) if path.exists() else None
