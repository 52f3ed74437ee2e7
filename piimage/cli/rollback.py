"""`piimage rollback`."""

from __future__ import annotations

from typing import Annotated

import typer

from piimage.cli.hosts import HostNames, InventoryFile, SshConfig, finish, fleet
from piimage.cli.options import Json, Verbose
from piimage.cli.output import listening
from piimage.deploy.slots import place_of
from piimage.deploy.text import printable
from piimage.events import Note
from piimage.run import Runner

EXAMPLE = "Example: piimage rollback greenhouse.local"


def rollback(
    host: HostNames,
    system: Annotated[
        bool,
        typer.Option("--system", help="Return to the version of the system in the other slot."),
    ] = False,
    inventory: InventoryFile = None,
    ssh_config: SshConfig = None,
    verbose: Verbose = False,
    json: Json = False,
) -> None:
    """Return to the version before the last deploy; a second rollback returns to the later one."""
    with listening(verbose=verbose, as_json=json) as emit:
        selected = fleet([host], inventory, ssh_config, Runner(emit))
        if system:
            returned = selected.ask(lambda remote: remote.roll_back_system())
            for back in returned:
                if back.outcome is not None:
                    emit(
                        Note(f"{back.name}: runs the system in {place_of(printable(back.outcome))}")
                    )
            finish(returned)
            return
        results = selected.ask(lambda remote: remote.roll_back())
        for result in results:
            if (switched := result.outcome) is not None:
                changed = printable(", ".join(switched.changed)) or "nothing"
                emit(Note(f"{result.name}: runs {printable(switched.target)}; changed: {changed}"))
        finish(results)
