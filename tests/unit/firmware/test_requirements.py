from __future__ import annotations

import pytest

from piimage.boards import load_board
from piimage.errors import PiimageError
from piimage.firmware.requirements import boot_files, wifi_files

ROOT = "usr/lib/raspi-firmware/"
PACKAGE = [
    *(f"{ROOT}{n}" for n in ("bootcode.bin", "start.elf", "fixup.dat", "start4.elf", "fixup4.dat")),
    f"{ROOT}start_x.elf",
    "usr/share/doc/raspi-firmware/start4.elf",
]


def test_each_board_takes_its_own_files() -> None:
    assert boot_files(load_board("pi4"), PACKAGE) == {
        "fixup4.dat": f"{ROOT}fixup4.dat",
        "start4.elf": f"{ROOT}start4.elf",
    }
    assert sorted(boot_files(load_board("zero2w"), PACKAGE)) == [
        "bootcode.bin",
        "fixup.dat",
        "start.elf",
    ]
    assert boot_files(load_board("pi5"), []) == {}
    assert wifi_files(load_board("qemu-virt"), []) == ()


@pytest.mark.provokes("firmware.incomplete-package")
def test_a_package_that_lacks_files_is_refused_with_all_of_them() -> None:
    with pytest.raises(PiimageError) as caught:
        boot_files(load_board("pi4"), [f"{ROOT}start.elf"])
    assert caught.value.code == "firmware.incomplete-package"
    assert "start4.elf" in str(caught.value)
    assert "fixup4.dat" in str(caught.value)
