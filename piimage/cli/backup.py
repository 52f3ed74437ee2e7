"""`piimage backup`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from piimage.cli.hosts import InventoryFile, SshConfig, fleet, single_link
from piimage.cli.options import Verbose
from piimage.cli.output import listening
from piimage.deploy.backup import back_up
from piimage.deploy.text import printable
from piimage.events import Note, Warning
from piimage.run import Runner, word

EXAMPLE = "Example: piimage backup greenhouse.local greenhouse.tar"


def backup(
    host: Annotated[str, typer.Argument(metavar="HOST", help="[USER@]HOST[:PORT].")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Archive to write.", readable=False)],
    inventory: InventoryFile = None,
    ssh_config: SshConfig = None,
    verbose: Verbose = False,
) -> None:
    """Copy the data of a Pi's services (/data) to a tar archive; go on if it was interrupted.

    Services go on meanwhile: stop one that writes into a database, or use its own export.
    """
    with listening(verbose=verbose, as_json=False) as emit:
        selected = fleet([host], inventory, ssh_config, Runner(emit))
        with single_link(selected) as link:
            made = back_up(link, file)
        if made.after:
            emit(Note(f"went on after {printable(made.after)}, where the last backup had ended"))
        for path in made.shrunk:
            emit(Warning(f"{printable(path)} became shorter while it was read; zeros fill its end"))
        if made.left_out:
            emit(Note(f"left out {made.left_out} devices, sockets, pipes or names not in UTF-8"))
        restored = f"piimage restore {word(host)} {word(file)}"
        emit(Note(f"{file}: {made.entries} entries written; to bring them back: {restored}"))
