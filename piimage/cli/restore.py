"""`piimage restore`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from piimage.cli.hosts import InventoryFile, SshConfig, fleet, single_link
from piimage.cli.options import Verbose
from piimage.cli.output import listening, tell
from piimage.deploy import backup
from piimage.deploy.remote import not_up
from piimage.deploy.text import printable
from piimage.errors import ErrorGroup, InputError
from piimage.events import Note
from piimage.run import Runner

EXAMPLE = "Example: piimage restore greenhouse.local greenhouse.tar"


def restore(
    host: Annotated[str, typer.Argument(metavar="HOST", help="[USER@]HOST[:PORT].")],
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="Archive of `piimage backup`.", readable=False),
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Skip the confirmation.")] = False,
    wait: Annotated[
        int,
        typer.Option(
            "--wait", min=1, max=3600, metavar="SECONDS",
            help="Seconds that a service may take to become healthy.",
        ),
    ] = 60,
    inventory: InventoryFile = None,
    ssh_config: SshConfig = None,
    verbose: Verbose = False,
) -> None:  # fmt: skip
    """Replace the data of a Pi's services (/data) by that of an archive.

    The services that use these folders stop for the exchange, when everything has arrived. Folders
    that the archive does not have stay.
    """
    archive = backup.read_archive(file)
    with listening(verbose=verbose, as_json=False) as emit:
        selected = fleet([host], inventory, ssh_config, Runner(emit))
        names = printable(", ".join(archive.names)) or "nothing"
        if not yes:
            _confirm(host, names)
        with single_link(selected) as link:
            troubles = backup.restore(link, archive, wait, lambda line: emit(Note(line)))
        emit(Note(f"{host}: restored {names}"))
    if troubles:
        raise ErrorGroup([not_up(host, name, reason) for name, reason in troubles.items()])


def _confirm(host: str, names: str) -> None:
    """Raise InputError ``backup.unconfirmed`` unless a person agrees."""
    tell(f"this replaces on {host}, below /data: {names}")
    agreed = sys.stdin.isatty() and input("Restore? [y/N] ").strip().lower() in ("y", "yes")
    if not agreed:
        raise InputError("backup.unconfirmed", "nothing was restored", hint="add --yes to agree")
