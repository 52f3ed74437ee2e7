from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from piimage.boards import load_board, overlay_sources
from piimage.firmware.writer import Boot
from piimage.run import Runner
from piimage.store import Store
from tests.system.emulator.cards import Parts, make_card, make_parts

TinyCard = Callable[[str], Path]


@pytest.fixture(scope="session")
def parts_of(piimage_store: Path) -> Callable[[str], Parts]:
    """Kernel, initramfs and device trees for a board, from the archive."""
    store = Store(piimage_store)
    more = {"pi5": ("bcm2712-d-rpi-5-b.dtb",)}
    return cache(lambda n: make_parts(store, Runner(), load_board(n), *more.get(n, ())))


@pytest.fixture(scope="session")
def tiny_card(
    tmp_path_factory: pytest.TempPathFactory, parts_of: Callable[[str], Parts]
) -> TinyCard:
    """A card for a board that boots to a shell."""
    folder = tmp_path_factory.mktemp("cards")

    @cache
    def make(name: str) -> Path:
        board = load_board(name)
        # All at once; two speeds of one bus are the only ones that exclude each other.
        wanted = [overlay for overlay in overlay_sources(board) if overlay != "i2c1-400k"]
        target = folder / f"{name}.img"
        return make_card(target, board, parts_of(name), Runner(), Boot(overlays=tuple(wanted)))

    return make
