"""`piimage new`: a commented starting file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from piimage import durable, host
from piimage.cli.output import say
from piimage.errors import InputError, PiimageError

EXAMPLE = "Example: piimage new pi4.yml --board pi4"


def new(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The file to write.", readable=False)
    ],
    board: Annotated[str, typer.Option("--board", "-b", help="The board, such as pi4.")],
) -> None:
    """Write a commented starting file FILE for a board; an existing file is never overwritten."""
    from piimage.boards import (  # noqa: PLC0415  # slow, and --help does without
        load_board,
        overlay_sources,
        search_path,
    )
    from piimage.config.starting import starting_file  # noqa: PLC0415
    from piimage.run import word  # noqa: PLC0415

    known = load_board(board, search_path([file]))
    emulated = known.emulator is not None
    overlay = next((name for name in overlay_sources(known) if name in known.overlays.gives), None)
    text = starting_file(known.name, known.title, str(file), emulated=emulated, overlay=overlay)
    write_new(file, text.encode("utf-8", "backslashreplace"))
    say(f"{file}: written; next: piimage build {word(file)}")


def write_new(file: Path, data: bytes) -> None:
    """Write `data` to `file`, whole or not at all, if there is nothing of that name."""
    try:
        durable.create(file, data)
    except FileExistsError as error:
        raise InputError(
            "config.exists",
            "the file is there already",
            place=str(file),
            hint="instead: another name, or remove it first",
        ) from error
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in host.FULL:
            with host.writing(file, len(data)):
                raise
        raise PiimageError(
            "config.unwritable",
            f"cannot be written ({getattr(error, 'strerror', None) or error})",
            place=str(file),
            hint="write to a folder that is there and yours",
        ) from error
