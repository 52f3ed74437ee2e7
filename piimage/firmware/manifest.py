"""The manifest of a card: appliance.json, beside the kernel."""

from __future__ import annotations

import json
from pathlib import Path

from piimage.board import Board
from piimage.boards import load_board, search_path
from piimage.errors import InputError
from piimage.firmware.card import find_manifest


def board_of(image: Path) -> Board:
    """Return the board that the card `image` was built for.

    The folder of the image and its parent are searched for boards of the user: with ``-o out``,
    the YAML file is in the parent.

    Raises InputError ``firmware.no-manifest`` if the image does not name its board, and the errors
    of `open_card` and `load_board`.
    """
    content = find_manifest(image)
    try:
        name = json.loads(content or b"")["board"]
    except (ValueError, KeyError, TypeError, RecursionError):
        name = None
    if not isinstance(name, str):
        raise InputError(
            "firmware.no-manifest",
            "the image does not name its board (no appliance.json)",
            place=str(image),
            hint="give an image that `piimage build` wrote",
        )
    return load_board(name, search_path([image.absolute().parent, image]))
