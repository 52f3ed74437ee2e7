from __future__ import annotations

import fnmatch

from piimage.boards import board_names, load_board
from piimage.firmware.radios import radio_globs, radio_needs

BRCM = "usr/lib/firmware/brcm/brcmfmac"


def test_each_radio_of_each_model_needs_firmware_and_calibration() -> None:
    needs = radio_needs(load_board("pi4"))
    assert (f"{BRCM}43456-sdio.bin",) in needs
    assert (f"{BRCM}43456-sdio.raspberrypi,400.txt", f"{BRCM}43456-sdio.txt") in needs
    assert (f"{BRCM}43455-sdio.raspberrypi,4-model-b.txt", f"{BRCM}43455-sdio.txt") in needs
    assert len(needs) == len(set(needs))


def test_needed_files_are_kept_and_those_of_other_makers_are_not() -> None:
    for name in board_names():
        board = load_board(name)
        globs = radio_globs(board)
        for paths in radio_needs(board):
            assert all(any(fnmatch.fnmatch(path, glob) for glob in globs) for path in paths)
        other = f"{BRCM}43455-sdio.pine64,rockpro64-v2.1.txt"
        assert not any(fnmatch.fnmatch(other, glob) for glob in globs)


def test_a_board_without_radios_needs_nothing() -> None:
    virt = load_board("qemu-virt")
    assert (radio_globs(virt), radio_needs(virt)) == ((), ())


def test_the_boards_with_wifi_name_their_radios() -> None:
    silent = {name for name in board_names() if not radio_needs(load_board(name))}
    assert silent == {"arm64-uefi", "qemu-virt"}


def test_the_files_of_one_radio_as_debian_has_them() -> None:
    """firmware-brcm80211: brcm/*.bin and *.clm_blob are links into cypress/."""
    name = "43455-sdio"
    assert radio_globs(load_board("pi5")) == (
        f"{BRCM}{name}.bin", f"{BRCM}{name}.clm_blob", f"{BRCM}{name}.txt",
        f"{BRCM}{name}.raspberrypi,*.txt", f"usr/lib/firmware/cypress/cyfmac{name}.*",
    )  # fmt: skip
