"""The firmware files for a board's WiFi chips, by the rules of their driver.

Source: Linux, drivers/net/wireless/broadcom/brcm80211/brcmfmac (firmware.c, sdio.c): for the chip
NAME it loads brcm/NAME.bin, a regulatory table NAME.clm_blob if there is one, and the radio's
calibration NAME.MODEL.txt, where MODEL is the first `compatible` of the device tree, else NAME.txt.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from piimage.board import Board

_ROOT: Final = "usr/lib/firmware"


def radio_globs(board: Board) -> tuple[str, ...]:
    """Return globs of all files in the packages that any model of `board` may need."""
    names = sorted({radio for model in board.models for radio in model.radios})
    return tuple(glob for name in names for glob in _globs(name))


def radio_needs(board: Board) -> tuple[tuple[str, ...], ...]:
    """Return groups of paths; the WiFi of every model works if each group has an existing path."""
    groups: dict[tuple[str, ...], None] = {}
    for model in board.models:
        for name in model.radios:
            stem = f"{_ROOT}/brcm/{name}"
            groups[f"{stem}.bin",] = None
            groups[f"{stem}.{model.compatible}.txt", f"{stem}.txt"] = None
    return tuple(groups)


def _globs(name: str) -> Iterator[str]:
    yield from (f"{_ROOT}/brcm/{name}.{kind}" for kind in ("bin", "clm_blob", "txt"))
    yield f"{_ROOT}/brcm/{name}.raspberrypi,*.txt"
    # Debian's .bin and .clm_blob are links to these.
    yield f"{_ROOT}/cypress/cyf{name.removeprefix('brcmf')}.*"
