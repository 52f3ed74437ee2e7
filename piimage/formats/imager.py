"""The card for Raspberry Pi Imager: packed as it can read it, and a list that offers it."""

from __future__ import annotations

import lzma
import shutil
from pathlib import Path
from urllib.parse import urlsplit

from piimage.boards import Board, known_boards
from piimage.card import imager
from piimage.card.image import Card
from piimage.durable import beside, write_chunks
from piimage.errors import InputError
from piimage.plan.slot import Version


def check_url(url: str, *, with_card: bool) -> None:
    """Raise InputError ``formats.imager-url`` if Imager could not download from below `url`."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https", "file") or not (parts.netloc or parts.path):
        raise InputError(
            "formats.imager-url",
            f"Raspberry Pi Imager cannot download from {url!r}",
            place="--rpi-imager",
            hint="give the address of the folder that will hold the image: https://HOST/FOLDER",
        )
    if not with_card:
        raise InputError(
            "formats.imager-url",
            "Raspberry Pi Imager takes cards, and --format has none",
            place="--rpi-imager",
            hint="add card to --format",
        )


def write_listing(card: Card, version: Version, url: str) -> tuple[Path, Path]:
    """Write ``NAME.img.xz`` and ``NAME.rpi-imager.json`` beside the `card`; return both.

    Raises InputError ``formats.no-pi`` when the board is no Raspberry Pi.
    """
    board = version.board
    if not board.imager:
        raise InputError(
            "formats.no-pi",
            f"{board.title} is no Raspberry Pi, and Imager shows each image by the Pis it is for",
            place="--rpi-imager",
            hint=f"build for one of: {_listed(board)}",
        )
    packed = _packed(card.image, version.file_mode)
    name = version.appliance.hostname
    services = ", ".join(one.name for one in version.appliance.services)
    listing = imager.Listing(
        name, f"{board.title}: {services or 'no services'}", devices=board.imager
    )
    target = card.image.with_suffix(".rpi-imager.json")
    text = imager.encode(listing, card.image, packed, url)
    return packed, write_chunks(target, [text], version.file_mode)


def _listed(board: Board) -> str:
    return ", ".join(one.name for one in known_boards(board.folders) if one.imager)


def _packed(image: Path, mode: int) -> Path:
    """Return the image as .xz, which all versions of Imager read."""
    target = image.with_name(f"{image.name}.xz")
    with (
        image.open("rb") as file,
        beside(target, mode) as draft,
        lzma.open(draft, "wb", preset=1) as packed,
    ):
        shutil.copyfileobj(file, packed, 1 << 20)
    return target
