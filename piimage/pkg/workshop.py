"""What a build of a container folder works with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from piimage import events
from piimage.oci.layout import Layout
from piimage.run import Runner
from piimage.store import Store

if TYPE_CHECKING:
    from piimage.locking.resolve import Sources


@dataclass(frozen=True)
class Workshop:
    """Store, runner and listener; `sources` gives the archive and the registries.

    Those are opened only when something is missing: it takes longer than composing what changed.
    """

    store: Store
    runner: Runner
    emit: events.Listener
    sources: Callable[[], Sources]
    docker_host: str | None = None
    builder: str | None = None

    @property
    def layout(self) -> Layout:
        """The images of the store."""
        return Layout(self.store)
