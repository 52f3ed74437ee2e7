"""`piimage lock`."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from piimage.boards import load_board, search_path
from piimage.cli.options import Files, Json, Origin, Sets, Verbose, with_groups
from piimage.cli.session import open_inputs
from piimage.config.load import load
from piimage.events import Note
from piimage.lock import Lock, changes
from piimage.locking.appliance import LockableAppliance, lock_path
from piimage.locking.current import existing_lock, summary, write_lock

EXAMPLE = "Example: piimage lock pi4.yml --update openssl"


@with_groups
def lock(
    files: Files,
    update: Annotated[
        list[str],
        typer.Option(
            "--update", metavar="NAME", help="Update this package, wheel or image; repeatable."
        ),
    ] = [],
    update_all: Annotated[
        bool, typer.Option("--update-all", help="Update every package, wheel and image.")
    ] = False,
    sets: Sets = [],
    *,
    origin: Origin,
    verbose: Verbose = False,
    json: Json = False,
) -> None:
    """Resolve packages, wheels and images to a lock file beside the last FILE; list the changes."""
    with open_inputs(origin, verbose=verbose, as_json=json) as inputs:
        appliance = load(files, sets, os.environ)
        board = load_board(appliance.board, search_path(files))
        path = lock_path(files)
        old = existing_lock(path)
        moving = {"*"} if update_all else set(update)
        new = LockableAppliance(appliance, board).resolve(inputs, old, moving)
        write_lock(new, path)
        for line in changes(old or Lock(), new):
            inputs.emit(Note(line))
        inputs.emit(Note(f"{path}: {summary(new)}"))
