"""`piimage import`: a Compose file as a file of piimage."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from piimage.cli.new import write_new
from piimage.cli.output import say, tell

EXAMPLE = "Example: piimage import compose.yml --board pi4 -o shop.yml"


def import_(
    file: Annotated[Path, typer.Argument(metavar="COMPOSE", help="The Compose file.")],
    board: Annotated[str, typer.Option("--board", "-b", help="The board, such as pi5.")] = "pi4",
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", metavar="FILE", help="The file to write; else FOLDER.yml there."
        ),
    ] = None,
) -> None:
    """Write the file of piimage that does what the Compose file COMPOSE does.

    What could not be carried over is said, and stands at the head of the file. An existing file is
    never overwritten.
    """
    from piimage.boards import load_board, search_path  # noqa: PLC0415  # slow, and --help does without
    from piimage.composefile.convert import convert  # noqa: PLC0415

    target = out or file.with_name(f"{file.absolute().parent.name or 'imported'}.yml")
    known = load_board(board, search_path([target]))
    made = convert(file, known.name, target.parent)
    write_new(target, made.text.encode())
    for remark in made.remarks:
        tell(f"warning: {remark}")
    say(f"{target}: written; next: piimage check {shlex.quote(str(target))}")
