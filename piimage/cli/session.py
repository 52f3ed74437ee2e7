"""What every verb that builds sets up first: store, runner, listener, sources."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from piimage.build import Project, open_project
from piimage.cli.options import Origin
from piimage.cli.output import listening
from piimage.cli.sources import sources_of
from piimage.config.lacks import refuse_lacking
from piimage.config.load import load
from piimage.container.starts import refuse_unstartable
from piimage.events import Warning
from piimage.locking.inputs import Inputs
from piimage.run import Runner
from piimage.store import Store, default_root


@contextmanager
def sources(origin: Origin, *, verbose: bool = False, as_json: bool = False) -> Iterator[Inputs]:
    """Give where inputs come from, with the listener that fits the output."""
    with listening(verbose=verbose, as_json=as_json) as emit:
        yield sources_of(origin, Store(default_root()), Runner(emit), emit)


def project(files: Sequence[Path], sets: Sequence[str], found: Inputs) -> Project:
    """Read the YAML files and their lock."""
    return open_project(files, load(files, sets, os.environ), found)


def project_of_card(files: Sequence[Path], sets: Sequence[str], found: Inputs) -> Project:
    """Read the YAML files, for a card, and their lock; what only some Pis have is a warning.

    Raises InputError ``config.lacking`` or ``config.no-overlay`` for what the board has not, and
    what `refuse_unstartable` raises.
    """
    appliance = load(files, sets, os.environ)
    refuse_unstartable(files, sets, os.environ, appliance)
    for remark in refuse_lacking(files, sets, os.environ):
        found.emit(Warning(remark))
    return open_project(files, appliance, found)
