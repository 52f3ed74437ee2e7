"""The board that a new file is for: named by an option, or asked on a terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from piimage.cli.output import tell
from piimage.errors import InputError

if TYPE_CHECKING:
    from piimage.board import Board


def _known_names() -> list[str]:
    """Return the names of the boards, for a shell's completion."""
    from piimage.boards import board_names, search_path  # noqa: PLC0415  # slow

    return list(board_names(search_path()))


BoardName = Annotated[
    str | None,
    typer.Option(
        "--board", "-b", help="Board, such as pi4; a terminal is asked.",
        autocompletion=_known_names,
    ),
]  # fmt: skip


def chosen_board(name: str | None, search: Sequence[Path]) -> Board:
    """Return the board `name`, or the one that the user names at the terminal.

    Raises InputError ``config.no-board`` without a name, a terminal or an answer, and what
    `load_board` raises.
    """
    from piimage.boards import load_board  # noqa: PLC0415  # slow, and --help needs none

    return load_board(name or _ask(search), search)


def _ask(search: Sequence[Path]) -> str:
    """Return the board that the user names at the terminal.

    Raises InputError ``config.no-board`` without a terminal or an answer.
    """
    from piimage.boards import known_boards  # noqa: PLC0415

    boards = list(known_boards(search))
    reply = ""
    if sys.stdin.isatty():
        for board in boards:
            tell(f"  {board.name:10}  {board.title}")
        with contextlib.suppress(EOFError):
            reply = input("Board: ").strip()
    if not reply:
        raise InputError(
            "config.no-board",
            "no board is named",
            place="--board",
            hint=f"add --board with one of: {', '.join(board.name for board in boards)}",
        )
    return reply
