"""What every verb that builds sets up first: store, runner, listener, sources."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from piimage.build import Project, open_project
from piimage.cli.output import listening
from piimage.config.lacks import refuse_lacking
from piimage.config.load import load
from piimage.events import Warning
from piimage.locking import Sources
from piimage.oci.registry import Access
from piimage.oci.starts import refuse_unstartable
from piimage.run import Runner
from piimage.store import Store, default_root


@contextmanager
def sources(
    *,
    verbose: bool = False,
    as_json: bool = False,
    mirror: str | None = None,
    snapshot: str | None = None,
    offline: bool = False,
    insecure: Sequence[str] = (),
    certificates: Path | None = None,
    keyring: Path | None = None,
    index: str | None = None,
    builder: str | None = None,
) -> Iterator[Sources]:
    """Give where inputs come from, with the listener that fits the output."""
    with listening(verbose=verbose, as_json=as_json) as emit:
        access = Access(frozenset(insecure), certificates)
        store = Store(default_root())
        yield Sources(
            store, Runner(emit), emit, time.time, mirror, snapshot, offline, access,
            keyring=keyring, index=index or os.environ.get("PIIMAGE_INDEX"),
            docker_host=os.environ.get("DOCKER_HOST"), builder=builder,
        )  # fmt: skip


def project(files: Sequence[Path], sets: Sequence[str], found: Sources) -> Project:
    """Read the YAML files and their lock."""
    return open_project(files, load(files, sets, os.environ), found)


def project_of_card(files: Sequence[Path], sets: Sequence[str], found: Sources) -> Project:
    """Read the YAML files, for a card, and their lock; what only some Pis have is a warning.

    Raises InputError ``config.lacking`` or ``config.no-overlay`` for what the board has not, and
    what `refuse_unstartable` raises.
    """
    appliance = load(files, sets, os.environ)
    refuse_unstartable(files, sets, os.environ, appliance)
    for remark in refuse_lacking(files, sets, os.environ):
        found.emit(Warning(remark))
    return open_project(files, appliance, found)
