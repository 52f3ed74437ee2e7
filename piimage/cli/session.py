"""The setup of every verb that builds: store, runner, listener, inputs, project."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from piimage.build import Project, open_project
from piimage.cli.inputs import inputs_of
from piimage.cli.options import Origin
from piimage.cli.output import listening
from piimage.config.lacks import refuse_lacking
from piimage.config.load import load
from piimage.container.starts import refuse_unstartable
from piimage.events import Warning
from piimage.locking.inputs import Inputs
from piimage.run import Runner
from piimage.store import Store, default_root


@contextmanager
def open_inputs(
    origin: Origin, *, verbose: bool = False, as_json: bool = False
) -> Iterator[Inputs]:
    """Yield what provides packages, wheels and images, with the listener for the output."""
    with listening(verbose=verbose, as_json=as_json) as emit:
        yield inputs_of(origin, Store(default_root()), Runner(emit), emit)


def read_project(files: Sequence[Path], sets: Sequence[str], inputs: Inputs) -> Project:
    """Read the YAML files and their lock."""
    return open_project(files, load(files, sets, os.environ), inputs)


def read_card_project(files: Sequence[Path], sets: Sequence[str], inputs: Inputs) -> Project:
    """Read the YAML files of a card and their lock; warn about what only some Pis support.

    Raises InputError ``config.lacking`` or ``config.no-overlay`` for what the board does not
    support, and whatever `refuse_unstartable` raises.
    """
    appliance = load(files, sets, os.environ)
    refuse_unstartable(files, sets, os.environ, appliance)
    for remark in refuse_lacking(files, sets, os.environ):
        inputs.emit(Warning(remark))
    return open_project(files, appliance, inputs)
