"""`piimage rollback`."""

from __future__ import annotations

import threading

from piimage.cli.hosts import HostNames, InventoryFile, SshConfig, finish, fleet
from piimage.cli.options import Json, Verbose
from piimage.cli.output import listening
from piimage.deploy import answers
from piimage.deploy.link import Link
from piimage.deploy.text import printable
from piimage.deploy.watch import watched
from piimage.events import Note
from piimage.run import Runner

EXAMPLE = "Example: piimage rollback greenhouse.local"
_WAIT_S = 60


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

        def work(link: Link) -> str:
            answer = link.ask("rollback", wait=_WAIT_S)
            run = link.checked(lambda: answers.text(answer, "run"))
            target = printable(link.checked(lambda: answers.text(answer, "target")))
            changed = watched(link, run, _WAIT_S, chosen.ssh, threading.Event(), lambda line: None)
            return f"runs {target}; changed: {printable(', '.join(changed)) or 'nothing'}"

        results = chosen.ask(work)
        for result in results:
            if result.outcome is not None:
                emit(Note(f"{result.name}: {result.outcome}"))
        finish(results)
