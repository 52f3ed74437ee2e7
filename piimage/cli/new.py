"""`piimage new`: a commented starting file, or a copy of a folder that piimage ships."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from piimage import durable, host
from piimage.cli.choosing import BoardName, chosen_board
from piimage.cli.options import Verbose
from piimage.cli.output import listening, say, tell
from piimage.errors import InputError, PiimageError

if TYPE_CHECKING:
    from piimage.board import Board
    from piimage.userkeys import UserKey

EXAMPLE = "Example: piimage new greenhouse.yml --board pi4"


def _samples() -> list[str]:
    """Return the names of what can be copied, for a shell's completion."""
    from piimage import samples  # noqa: PLC0415  # slow

    return list(samples.names())


def new(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            help="File to write; with --folder, the folder (default: its own name).",
            readable=False,
        ),
    ] = None,
    board: BoardName = None,
    ssh_key: Annotated[
        list[str],
        typer.Option(
            "--ssh-key",
            help="Public key that may log in: a .pub file, or its line; repeatable (default: "
            "those of ~/.ssh and of the SSH agent).",
        ),
    ] = [],
    folder: Annotated[
        str | None,
        typer.Option(
            "--folder",
            metavar="NAME",
            help="Instead of a starting file, copy what piimage ships: services/NAME, "
            "kernel-modules/NAME or boards/NAME.",
            autocompletion=_samples,
        ),
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Write a starting file whose Pi can be reached; an existing file is never overwritten."""
    if folder is not None:
        _copy(folder, file)
    elif file is None:
        raise typer.BadParameter("name the file to write, such as greenhouse.yml")
    else:
        _start(file, board, ssh_key, verbose)


def _copy(name: str, target: Path | None) -> None:
    from piimage import samples  # noqa: PLC0415  # --help needs none

    copied = samples.copy(name, target)
    say(f"{copied}: written; {samples.use_of(name, copied)}")


def _start(file: Path, board: str | None, ssh_key: Sequence[str], verbose: bool) -> None:
    from piimage.boards import search_path  # noqa: PLC0415  # slow; --help needs none
    from piimage.run import Runner, word  # noqa: PLC0415
    from piimage.userkeys import found_keys, named_keys  # noqa: PLC0415

    search = search_path([file])
    found = chosen_board(board, search)
    with listening(verbose=verbose, as_json=False) as emit:
        keys = named_keys(ssh_key) if ssh_key else found_keys(Path.home(), Runner(emit))
    write_new(file, _text(file, found, keys).encode("utf-8", "backslashreplace"))
    _show_keys(keys)
    if _is_wireless(found):
        tell(f"{found.title} has no wired network: set network: country and wifi in {file}")
    say(f"{file}: written; next: piimage build {word(file)} -o out")


def _text(file: Path, board: Board, keys: Sequence[UserKey]) -> str:
    from piimage import hostname  # noqa: PLC0415
    from piimage.boards import overlay_sources  # noqa: PLC0415
    from piimage.config.starting import Starting, starting_file  # noqa: PLC0415

    overlays = (name for name in overlay_sources(board) if name in board.overlays.gives)
    start = Starting(
        board.name, board.title, str(file),
        hostname=hostname.from_words(file.stem) or hostname.from_words(board.name) or "pi",
        keys=[key.line for key in keys],
        emulated=board.emulator is not None,
        overlay=next(overlays, None),
    )  # fmt: skip
    return starting_file(start)


def _is_wireless(board: Board) -> bool:
    """Return whether the functions of the board are known, and none of them is Ethernet."""
    return bool(board.functions) and "ethernet" not in board.functions


def _show_keys(keys: Sequence[UserKey]) -> None:
    """Say which keys may log in, or that nobody can."""
    for key in keys:
        say(f"may log in: {key.shown}")
    if not keys:
        tell(
            "warning: no public SSH key was found, so NOBODY WILL BE ABLE TO LOG IN; make one with "
            "ssh-keygen -t ed25519, then add it under ssh: authorized_keys:"
        )


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
