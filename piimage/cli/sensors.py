"""`piimage sensors`: the chips that `sensors:` may name."""

from __future__ import annotations

import dataclasses
import json as json_format
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from piimage.board import Board
from piimage.boards import load_board, search_path
from piimage.cli.hosts import table
from piimage.cli.options import Origin, Sets, Verbose, with_groups
from piimage.cli.output import put, say, tell
from piimage.cli.session import open_inputs
from piimage.config.load import load
from piimage.errors import InputError
from piimage.hardware.chips import current_kernel, known_chips
from piimage.lock import Lock
from piimage.locking.appliance import LockableAppliance, lock_path
from piimage.locking.current import current_lock
from piimage.locking.inputs import Inputs

EXAMPLE = "Example: piimage sensors --board pi4"


@with_groups
def sensors(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FILE...]",
            help="YAML files; list the chips of the kernel in their lock.",
            readable=False,
        ),
    ] = None,
    board: Annotated[
        str | None,
        typer.Option("--board", help="List the chips of Debian's present kernel for this board."),
    ] = None,
    sets: Sets = [],
    *,
    origin: Origin,
    verbose: Verbose = False,
    json: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False,
) -> None:
    """List the chips that a kernel has drivers for, and that `sensors:` may name."""
    if bool(files) == (board is not None):
        raise typer.BadParameter("give either FILE or --board")
    with open_inputs(origin, verbose=verbose) as inputs:
        target, lock = _locked(files, sets, inputs) if files else _present(board or "", inputs)
        release, chips = known_chips(target, lock, inputs)
    if json:
        entries = [dataclasses.asdict(chip) for chip in chips]
        put(json_format.dumps({"kernel": release, "chips": entries}, indent=1) + "\n")
        return
    say(table([["CHIP", "BUS", "MODULE"], *([c.name, c.bus, c.module] for c in chips)]))
    tell(f"{len(chips)} chips, by the modules of the kernel {release}")


def _present(board: str, inputs: Inputs) -> tuple[Board, Lock]:
    target = load_board(board, search_path([]))
    return target, current_kernel(target, inputs)


def _locked(files: Sequence[Path], sets: Sequence[str], inputs: Inputs) -> tuple[Board, Lock]:
    appliance = load(files, sets, os.environ)
    target = load_board(appliance.board, search_path(files))
    if appliance.kernel.image is not None:
        raise InputError(
            "plan.unsupported",
            "this version does not list the chips of a kernel from an image",
            place=str(files[-1]),
            hint="list those of Debian's kernel with: piimage sensors --board " + appliance.board,
        )
    return target, current_lock(LockableAppliance(appliance, target), lock_path(files), inputs)
