"""`piimage import`: convert a Compose file to a piimage file."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from piimage.cli.choosing import BoardName, chosen_board
from piimage.cli.new import write_new
from piimage.cli.output import say, tell

EXAMPLE = "Example: piimage import compose.yml --board pi4 -o shop.yml"


def import_(
    file: Annotated[Path, typer.Argument(metavar="COMPOSE", help="Compose file to convert.")],
    board: BoardName = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            metavar="FILE",
            help="File to write (default: FOLDER.yml beside COMPOSE).",
        ),
    ] = None,
) -> None:
    """Convert the Compose file COMPOSE to a piimage file.

    A warning and a comment at the top of the new file name everything that could not be converted.
    An existing file is never overwritten.
    """
    from piimage.boards import search_path  # noqa: PLC0415  # slow, and --help needs none
    from piimage.composefile.convert import convert  # noqa: PLC0415

    target = out or file.with_name(f"{file.absolute().parent.name or 'imported'}.yml")
    found = chosen_board(board, search_path([target]))
    converted = convert(file, found.name, target.parent)
    write_new(target, converted.text.encode())
    for remark in converted.remarks:
        tell(f"warning: {remark}")
    say(f"{target}: written; next: piimage check {shlex.quote(str(target))}")
