"""What a card says of itself: appliance.json, beside the kernel."""

from __future__ import annotations

import json
from pathlib import Path

from piimage.boards import Board, load_board, search_path
from piimage.errors import InputError
from piimage.firmware.card import find_manifest


def board_of(image: Path) -> Board:
    """Return the board that the card `image` was built for.

    A board of one's own is looked for beside the image and in the folder above, where the YAML
    file is that was built with ``-o out``.

    Raises InputError ``firmware.no-manifest`` when the image does not say, and the errors of
    `open_card` and `load_board`.
    """
    content = find_manifest(image)
    try:
        name = json.loads(content or b"")["board"]
    except (ValueError, KeyError, TypeError, RecursionError):
        name = None
    if not isinstance(name, str):
        raise InputError(
            "firmware.no-manifest",
            "the image does not say for which board it was built (no appliance.json)",
            place=str(image),
            hint="give an image that `piimage build` wrote",
        )
    return load_board(name, search_path([image.absolute().parent, image]))
