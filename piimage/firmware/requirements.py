"""Which files of the firmware packages a board needs."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable

from piimage.boards import Board
from piimage.errors import PiimageError, raise_all


def boot_files(board: Board, available: Iterable[str]) -> dict[str, str]:
    """Return the firmware files of `board`: name on the card, and path in the package.

    `available` are the paths in the firmware packages, relative to the root. Raises PiimageError
    ``firmware.incomplete-package`` for each glob of the board that matches none.
    """
    root = board.firmware.root.rstrip("/") + "/"
    below = [path.removeprefix(root) for path in available if path.startswith(root)]
    chosen = _matched(board, board.firmware.files, below)
    return {name: root + name for name in chosen}


def wifi_files(board: Board, available: Iterable[str]) -> tuple[str, ...]:
    """Return the paths in the WiFi firmware packages that `board` needs; errors as above."""
    return _matched(board, () if board.wifi is None else board.wifi.files, list(available))


def _matched(board: Board, globs: Iterable[str], paths: list[str]) -> tuple[str, ...]:
    found: set[str] = set()
    errors: list[PiimageError] = []
    for glob in globs:
        matches = fnmatch.filter(paths, glob)
        found.update(matches)
        if not matches:
            errors.append(_incomplete(board, glob))
    raise_all(errors)
    return tuple(sorted(found))


def _incomplete(board: Board, glob: str) -> PiimageError:
    return PiimageError(
        "firmware.incomplete-package",
        f"no firmware package has {glob}, which the board {board.name} needs",
        hint="lock a version of the firmware package that has it, or correct the board's file",
    )
