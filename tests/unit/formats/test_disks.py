"""Disks of virtual machines, by QEMU's reader."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from piimage.formats.disks import footer, geometry, write_disks
from piimage.run import Runner

MIB = 1 << 20


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A raw disk with data at its start and near its end."""
    path = tmp_path / "pi4.img"
    with path.open("wb") as file:
        file.truncate(70 * MIB)
        file.write(b"start" * 99_999)
        file.seek(69 * MIB)
        file.write(b"end" * 9_999)
    return path


def written(image: Path, form: str, folder: Path, identity: str = "one") -> Path:
    folder.mkdir(exist_ok=True)
    (path,) = write_disks(Runner(), (form,), image, folder / image.name, identity, 0o640)
    return path


@pytest.mark.parametrize(("form", "name"), [("qcow2", "qcow2"), ("vhd", "vpc")])
def test_qemu_finds_the_bytes_of_the_card(
    image: Path, tmp_path: Path, form: str, name: str
) -> None:
    disk = written(image, form, tmp_path / "out")
    assert disk.name == f"pi4.{form}"
    assert disk.stat().st_mode & 0o777 == 0o640
    look = ["qemu-img", "info", "--output", "json", "-f", name, disk]  # a fixed VHD begins as raw
    info = json.loads(Runner().run(look).text)
    assert (info["format"], info["virtual-size"]) == (name, 70 * MIB)
    same = Runner().run(["qemu-img", "compare", "-f", "raw", "-F", name, image, disk])
    assert "Images are identical" in same.text


def test_a_qcow2_has_no_faults_and_takes_no_room_for_what_is_empty(
    image: Path, tmp_path: Path
) -> None:
    disk = written(image, "qcow2", tmp_path / "out")
    assert "No errors were found" in Runner().run(["qemu-img", "check", disk]).text
    assert disk.stat().st_size < 2 * MIB


@pytest.mark.slow
def test_a_vhd_is_the_raw_disk_and_a_footer_and_sparse(image: Path, tmp_path: Path) -> None:
    disk = written(image, "vhd", tmp_path / "out")
    data = disk.read_bytes()
    assert data[:-512] == image.read_bytes()
    assert data[-512:] == footer(70 * MIB, "one")
    assert disk.stat().st_blocks * 512 < 2 * MIB


@pytest.mark.parametrize("form", ["qcow2", "vhd"])
def test_two_builds_give_the_same_bytes(
    image: Path, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = written(image, form, tmp_path / "one").read_bytes()
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    before = os.umask(0o077)
    try:
        second = written(image, form, tmp_path / "two")
    finally:
        os.umask(before)
    assert second.read_bytes() == first
    assert second.stat().st_mode & 0o777 == 0o640


def test_the_id_of_a_vhd_follows_from_the_content() -> None:
    assert footer(MIB, "one") == footer(MIB, "one")
    assert footer(MIB, "one")[68:84] != footer(MIB, "two")[68:84]


def test_the_footer_of_a_vhd_byte_by_byte() -> None:
    """Its checksum is the complement of the sum of all other bytes."""
    data = footer(70 * MIB, "one")
    assert len(data) == 512
    assert data[:24] == b"conectix" + bytes.fromhex("00000002 00010000 ffffffffffffffff")
    assert data[40:56] == (70 * MIB).to_bytes(8, "big") * 2
    assert data[60:64] == bytes.fromhex("00000002")
    others = data[:64] + bytes(4) + data[68:]
    assert int.from_bytes(data[64:68], "big") == ~sum(others) & 0xFFFF_FFFF


@pytest.mark.parametrize(
    ("mebibytes", "expected"),
    [
        # qemu-img 10 gives one cylinder more: it has the disk fill whole cylinders.
        (16, (481, 4, 17)),
        (70, (936, 9, 17)),
        (504, (1024, 16, 63)),
        (1152, (2340, 16, 63)),
        (40_000, (20_078, 16, 255)),
        (4 << 20, (65535, 16, 255)),
    ],
)
def test_the_geometry_is_that_of_the_specification(
    mebibytes: int, expected: tuple[int, int, int]
) -> None:
    assert geometry(mebibytes * 2048) == expected
