"""The file system of a CD: its structure, and what xorriso finds in it."""

from __future__ import annotations

import hashlib
import re
import struct
from pathlib import Path

import pytest

from piimage.card import iso9660
from piimage.card.partitions import FAT, Partition
from piimage.run import Runner

MIB = 1 << 20
IMAGE = Partition(FAT, MIB, 4 * MIB)
SIZE = 6 * MIB


def block(number: int, name: str = "shed") -> bytes:
    """Return a block of the CD by its number on the medium."""
    data = iso9660.encode(name, IMAGE, SIZE)
    at = number * iso9660.BLOCK - iso9660.START
    return data[at : at + iso9660.BLOCK]


@pytest.fixture
def cd(tmp_path: Path) -> Path:
    path = tmp_path / "a.iso"
    with path.open("wb") as file:
        file.truncate(SIZE)
        file.seek(iso9660.START)
        file.write(iso9660.encode("shed", IMAGE, SIZE))
        file.seek(IMAGE.start)
        file.write(b"the boot image")
    return path


def test_the_bytes_are_golden() -> None:
    """Boot a CD before you change this."""
    data = iso9660.encode("shed", IMAGE, SIZE)
    assert len(data) == 7 * iso9660.BLOCK
    assert (
        hashlib.sha256(data).hexdigest()
        == "808449f571602f880c5d3da75bc2994422c64dcafa2e2574ce3aa23c409192ab"
    )


def test_the_descriptors_are_those_of_a_cd_that_boots() -> None:
    kinds = [(part[0], part[1:6], part[6]) for part in map(block, (16, 17, 18))]
    assert kinds == [(1, b"CD001", 1), (0, b"CD001", 1), (255, b"CD001", 1)]
    assert block(17)[7:30] == b"EL TORITO SPECIFICATION"
    assert struct.unpack_from("<I", block(17), 71) == (22,)


def test_each_number_is_there_in_both_byte_orders() -> None:
    primary = block(16)
    numbers = [(80, 4, SIZE // 2048), (120, 2, 1), (124, 2, 1), (128, 2, 2048), (132, 4, 10)]
    for at, width, value in numbers:
        little, big = primary[at : at + width], primary[at + width : at + 2 * width]
        assert int.from_bytes(little, "little") == int.from_bytes(big, "big") == value
    assert struct.unpack_from("<I", primary, 140) == (19,)
    assert struct.unpack_from(">I", primary, 148) == (20,)
    assert block(19)[:10] == b"\x01\0" + struct.pack("<IH", 21, 1) + b"\0\0"
    assert block(20)[:10] == b"\x01\0" + struct.pack(">IH", 21, 1) + b"\0\0"


def test_the_catalog_has_one_image_for_uefi_that_reaches_to_the_end() -> None:
    catalog = block(22)
    assert sum(struct.unpack("<16H", catalog[:32])) & 0xFFFF == 0
    assert (catalog[0], catalog[1], catalog[30:32]) == (1, 0xEF, b"\x55\xaa")
    assert struct.unpack("<BBHBBHI", catalog[32:44]) == (0x88, 0, 0, 0, 0, 0, MIB // 2048)
    assert not any(catalog[44:])


@pytest.mark.parametrize(
    ("name", "label"),
    [("shed", "SHED"), ("my-pi.2", "MY_PI_2"), ("Gärten", "G_RTEN"), ("a" * 40, "A" * 32)],
)
def test_the_label_has_only_letters_that_iso_9660_allows(name: str, label: str) -> None:
    assert block(16, name)[40:72].decode() == label.ljust(32)


def test_xorriso_finds_the_boot_image_and_the_files(cd: Path) -> None:
    found = Runner().run(
        ["xorriso", "-indev", cd, "-report_el_torito", "plain", "-pvd_info",
         "-find", "/", "-exec", "report_lba"], timeout=60,
    )  # fmt: skip
    text = found.text + found.stderr.decode()
    assert re.search(r"^El Torito boot img : +1 +UEFI +y +none +0x0000 +0x00 +0 +512$", text, re.M)
    assert re.search(r"^El Torito img path : +1 +/EFI\.IMG$", text, re.M)
    assert "/BOOT.CAT" in text
    assert "Creation Time: 2025010100000000" in text
    assert re.search(rf" 512 , +{IMAGE.size // 2048} , +{IMAGE.size} , '/EFI\.IMG'$", text, re.M)
    assert not re.search("WARNING|FAILURE|SORRY", text)


def test_a_file_of_the_cd_has_the_bytes_of_the_boot_image(cd: Path, tmp_path: Path) -> None:
    words = ["-osirrox", "on", "-indev", cd, "-extract", "/EFI.IMG", tmp_path / "efi.img"]
    Runner().run(["xorriso", *words], timeout=60)
    data = (tmp_path / "efi.img").read_bytes()
    assert len(data) == IMAGE.size
    assert data.startswith(b"the boot image\0")


def test_a_cd_is_known_by_its_start(cd: Path) -> None:
    with cd.open("rb") as file:
        assert iso9660.is_cd(file.read(64 << 10))
    assert not iso9660.is_cd(bytes(64 << 10))
    assert not iso9660.is_cd(b"")
