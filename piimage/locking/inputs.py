"""Where the inputs of a build come from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from piimage import events
from piimage.oci.layout import Layout
from piimage.oci.registry import Access
from piimage.run import Runner
from piimage.store import Store

# What opens an input is imported on use: a build that fetches nothing starts in half the time.
if TYPE_CHECKING:
    from piimage.debian.fetch import Fetcher
    from piimage.debian.index import Archive, Suite
    from piimage.debian.mirror import Mirrors
    from piimage.locking.dockerfiles import Dockerfiles
    from piimage.locking.images import Images
    from piimage.locking.packages import Pinning
    from piimage.oci.engine import Engine
    from piimage.python.fetch import WheelFetcher


@dataclass(frozen=True)
class Inputs:
    """The archive, the registries, the Python index and the engine; the store alone if `offline`.

    `now` gives the time in seconds, for the dates of the archive's indexes.
    """

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

    @property
    def layout(self) -> Layout:
        """The images in the store."""
        return Layout(self.store)

    def images(self) -> Images:
        """Return what pulls container images into the store."""
        from piimage.locking.images import Images  # noqa: PLC0415
        from piimage.oci.registry import Registry  # noqa: PLC0415

        return Images(Registry(self.layout, self.runner, self.access), self.offline)

    def engine(self) -> Engine:
        """Return the engine that builds Dockerfiles; PiimageError ``oci.no-buildx``."""
        from piimage.oci.engine import Engine, find_buildx  # noqa: PLC0415

        buildx = find_buildx()
        return Engine(self.layout, self.runner, buildx, self.docker_host, self.builder, self.emit)

    def dockerfiles(self) -> Dockerfiles:
        """Return what builds container folders that have a Dockerfile."""
        from piimage.locking.dockerfiles import Dockerfiles  # noqa: PLC0415

        return Dockerfiles(self.store, self.engine, self.emit, self.offline)

    def mirrors(self) -> Mirrors | None:
        """Return the archives to fetch packages from; None if `offline`."""
        from piimage.debian import mirror  # noqa: PLC0415

        return None if self.offline else mirror.choose(self.mirror)

    def fetcher(self) -> Fetcher:
        """Return what fetches packages into the store."""
        from piimage.debian import mirror  # noqa: PLC0415
        from piimage.debian.fetch import Fetcher  # noqa: PLC0415

        snapshot = mirror.choose(self.snapshot) if self.snapshot else None
        return Fetcher(self.store, self.mirrors(), snapshot, emit=self.emit)

    def archive(self) -> Archive:
        """Return the verified indexes of the archive."""
        from piimage.debian import release  # noqa: PLC0415
        from piimage.debian.index import Archive  # noqa: PLC0415

        keyring = release.keyring(self.keyring)
        return Archive(self.store, self.runner, self.mirrors(), keyring, self.now, emit=self.emit)

    def pinning(self, suites: tuple[Suite, ...]) -> Pinning:
        """Return what pins packages of `suites`."""
        from piimage.locking.packages import Pinning  # noqa: PLC0415

        return Pinning(self.archive(), self.fetcher(), suites)

    @contextmanager
    def wheels(self) -> Iterator[WheelFetcher]:
        """Yield what resolves Python wheels and fetches them into the store."""
        from piimage.python import index  # noqa: PLC0415
        from piimage.python.fetch import WheelFetcher  # noqa: PLC0415
        from piimage.python.resolve import Resolver  # noqa: PLC0415

        if self.offline:
            yield WheelFetcher(self.store, None, emit=self.emit)
            return
        with self.store.scratch() as scratch:
            resolver = Resolver(index.choose(self.index, self.runner), self.runner, scratch)
            yield WheelFetcher(self.store, resolver, emit=self.emit)
