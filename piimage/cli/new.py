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
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File to write.", readable=False)],
    board: Annotated[str, typer.Option("--board", "-b", help="Board, such as pi4.")],
) -> None:
    """Write a commented starting file for a board; an existing file is never overwritten."""
    from piimage.boards import (  # noqa: PLC0415  # slow, and --help does not need it
        load_board,
        overlay_sources,
        search_path,
    )
    from piimage.config.starting import starting_file  # noqa: PLC0415
    from piimage.run import word  # noqa: PLC0415

    found = load_board(board, search_path([file]))
    emulated = found.emulator is not None
    overlay = next((name for name in overlay_sources(found) if name in found.overlays.gives), None)
    text = starting_file(found.name, found.title, str(file), emulated=emulated, overlay=overlay)
    write_new(file, text.encode("utf-8", "backslashreplace"))
    say(f"{file}: written; next: piimage build {word(file)}")


def write_new(file: Path, data: bytes) -> None:
    """Create `file` with `data`, completely or not at all; never replace an existing file."""
    try:
        durable.create(file, data)
    except FileExistsError as error:
        raise InputError(
            "config.exists",
            "the file exists already",
            place=str(file),
            hint="give another name, or remove the file first",
        ) from error
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in host.FULL:
            with host.writing(file, len(data)):
                raise
        raise PiimageError(
            "config.unwritable",
            f"the file cannot be written ({getattr(error, 'strerror', None) or error})",
            place=str(file),
            hint="give a file in an existing folder that you may write to",
        ) from error
