"""`piimage rollback`."""

from __future__ import annotations

from piimage.cli.hosts import HostNames, InventoryFile, SshConfig, finish, fleet
from piimage.cli.options import Json, Verbose
from piimage.cli.output import listening
from piimage.deploy.text import printable
from piimage.events import Note
from piimage.run import Runner

EXAMPLE = "Example: piimage rollback greenhouse.local"


def rollback(
    host: HostNames,
    inventory: InventoryFile = None,
    ssh_config: SshConfig = None,
    verbose: Verbose = False,
    json: Json = False,
) -> None:
    """Go back to what ran before the last deploy; a second time, forward again."""
    with listening(verbose=verbose, as_json=json) as emit:
        chosen = fleet([host], inventory, ssh_config, Runner(emit))

        results = chosen.ask(lambda remote: remote.roll_back())
        for result in results:
            if (led := result.outcome) is not None:
                changed = printable(", ".join(led.changed)) or "nothing"
                emit(Note(f"{result.name}: runs {printable(led.target)}; changed: {changed}"))
        finish(results)
