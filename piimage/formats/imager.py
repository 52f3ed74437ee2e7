"""The card for Raspberry Pi Imager: the packed image and the listing that offers it."""

from __future__ import annotations

import lzma
import shutil
from pathlib import Path
from urllib.parse import urlsplit

from piimage.board import Board
from piimage.boards import known_boards
from piimage.card import imager
from piimage.card.image import Card
from piimage.durable import beside, write_chunks
from piimage.errors import InputError
from piimage.locking.requests import wants_agent
from piimage.plan.slot import Version


def check_url(url: str, *, with_card: bool) -> None:
    """Raise InputError ``formats.imager-url`` if Imager cannot download from the folder `url`."""
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
            "Raspberry Pi Imager needs a card, but --format does not include one",
            place="--rpi-imager",
            hint="add card to --format",
        )


def write_listing(card: Card, version: Version, url: str) -> tuple[Path, Path]:
    """Write ``NAME.img.xz`` and ``NAME.rpi-imager.json`` beside the `card`; return both.

    Raises InputError ``formats.no-pi`` if the board is not a Raspberry Pi.
    """
    board = version.board
    if not board.imager:
        raise InputError(
            "formats.no-pi",
            f"{board.title} is not a Raspberry Pi, which Imager requires",
            place="--rpi-imager",
            hint=f"build for one of these boards: {_pi_names(board)}",
        )
    packed = _packed(card.image, version.file_mode)
    name = version.appliance.hostname
    services = ", ".join(service.name for service in version.appliance.services)
    listing = imager.Listing(
        name,
        f"{board.title}: {services or 'no services'}",
        devices=board.imager,
        customisable=wants_agent(version.appliance),
    )
    target = card.image.with_suffix(".rpi-imager.json")
    text = imager.encode(listing, card.image, packed, url)
    return packed, write_chunks(target, [text], version.file_mode)


def _pi_names(board: Board) -> str:
    return ", ".join(known.name for known in known_boards(board.folders) if known.imager)


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
