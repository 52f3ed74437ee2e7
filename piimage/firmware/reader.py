"""A card as the firmware of its board reads it."""

from __future__ import annotations

import datetime
from pathlib import Path

from piimage.board import Board
from piimage.errors import raise_all
from piimage.firmware.boot_loaders import boot_loader_of
from piimage.firmware.bootfiles import BootFiles
from piimage.firmware.card import open_card
from piimage.run import Runner


def read_card(
    image: Path,
    board: Board,
    runner: Runner,
    *,
    tryboot: bool = False,
    eeprom: datetime.date | None = None,
) -> BootFiles:
    """Return the files that the first model of `board` boots from `image`, perhaps in a try.

    `eeprom` is the date of its boot loader, if that is not the present one. Raises PiimageError
    ``card.no-table``, ``firmware.no-image``, ``firmware.damaged-fat``, and the errors of the
    board's boot loader (`boot_loaders`).
    """
    with open_card(image) as card:
        boot_loader = boot_loader_of(board)
        return boot_loader.read(card, board, runner, tryboot=tryboot, eeprom=eeprom)


def require_bootable(
    image: Path, board: Board, runner: Runner, *, origin: str | None = None
) -> None:
    """Read the card `image` as each model of `board`, with each version of its boot loader.

    `origin` is the name of the card in errors. Raises the errors of `read_card` for each model and
    version that would not boot.
    """
    with open_card(image, origin) as card:
        raise_all(boot_loader_of(board).refusals(card, board, runner))
