from __future__ import annotations

import os
import re
import shutil
import uuid
from pathlib import Path

import pytest

from piimage.card.ext4 import DataFile, Ext4Volume, existing, put_files, read_file, used
from piimage.card.extents import total
from piimage.errors import InputError, PiimageError
from piimage.run import Runner
from tests.unit.card.volumes import OFFSET, flashed, part, stored, tool, written

MIB = 1 << 20
ID = uuid.UUID("12345678-9abc-8def-8123-456789abcdef")


def data(files: dict[str, DataFile], size: int = 66 * MIB) -> Ext4Volume:
    return Ext4Volume("data", "data", ID, ID, size, files)


def checked(image: Path) -> None:
    tool("e2fsck", "-fn", image)


def content(image: Path, path: str) -> bytes:
    return tool("debugfs", "-R", f"cat {path}", image).encode()


FILES = {
    "piimage/provision/hostname": DataFile(b"greenhouse\n", 0o600),
    "piimage/secret": DataFile(None, 0o700),
    "state/owned": DataFile(b"x" * 10_000, 0o640, uid=1000, gid=1001),
}


def test_the_volume_has_its_files_with_owners_and_modes(tmp_path: Path) -> None:
    image, _ = written(data(FILES), tmp_path)
    checked(image)
    assert content(image, "/piimage/provision/hostname") == b"greenhouse\n"
    assert content(image, "/state/owned") == b"x" * 10_000
    stat = tool("debugfs", "-R", "stat /state/owned", image)
    assert "Mode:  0640" in stat and "User:  1000" in stat and "Group:  1001" in stat
    assert "Mode:  0700" in tool("debugfs", "-R", "stat /piimage/secret", image)
    root = tool("debugfs", "-R", "stat /", image)
    assert "User:     0" in root and "2025" in root


def test_the_same_files_give_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    first, _ = written(data(FILES), tmp_path / "first")
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    monkeypatch.setenv("E2FSPROGS_FAKE_TIME", "1")
    monkeypatch.setenv("MKE2FS_CONFIG", "/nonexistent")
    old = os.umask(0o077)
    try:
        second, _ = written(data(dict(reversed(FILES.items()))), tmp_path / "second")
    finally:
        os.umask(old)
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("noted", ["flags 2", "kbytes_written 5741"])
def test_what_mke2fs_notes_of_the_build_host_is_not_in_the_bytes(
    noted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for mke2fs of arm64, and for one on a file system that punches no holes."""
    (tmp_path / "here").mkdir()
    image, _ = written(data(FILES), tmp_path / "here")
    real = shutil.which("mke2fs", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    stand_in = tmp_path / "bin/mke2fs"
    stand_in.parent.mkdir()
    stand_in.write_text(
        f'#!/bin/bash\n{real} "$@" && debugfs -w -R "set_super_value {noted}" "${{@: -2:1}}"\n'
    )
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{stand_in.parent}:{os.environ['PATH']}:/usr/sbin:/sbin")
    (tmp_path / "there").mkdir()
    other, _ = written(data(FILES), tmp_path / "there")
    assert other.read_bytes() == image.read_bytes()
    assert "signed_directory_hash" in tool("dumpe2fs", "-h", other)
    assert "unsigned_directory_hash" not in tool("dumpe2fs", "-h", other)


def test_the_extents_alone_give_a_healthy_volume_on_a_used_card(tmp_path: Path) -> None:
    image, extents = written(data(FILES), tmp_path)
    card = tmp_path / "card"
    card.write_bytes(flashed(image, extents))
    checked(card)
    assert content(card, "/piimage/provision/hostname") == b"greenhouse\n"
    assert total(extents) < 7 * MIB
    # The journal is zeroed: blocks of an old journal would be replayed after a crash.
    journal = tool("debugfs", "-R", "cat <8>", card).encode("utf-8", "surrogateescape")
    assert b"\xa5\x5a" not in journal


def test_it_can_grow_to_the_end_of_a_large_card(tmp_path: Path) -> None:
    image, _ = written(data(FILES), tmp_path)
    with image.open("r+b") as file:
        file.truncate(1 << 40)
    tool("resize2fs", image)
    checked(image)
    text = tool("dumpe2fs", "-h", image)
    assert f"Block count:              {(1 << 40) // 4096}" in text
    assert "meta_bg" not in text


def test_the_image_stays_sparse(tmp_path: Path) -> None:
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(1 << 30)
    data({}, 1 << 30).write(Runner(), image, 0)
    assert image.stat().st_blocks * 512 < 8 * MIB


def test_put_files_replaces_files(tmp_path: Path) -> None:
    image, _ = written(data(FILES), tmp_path)
    put_files(
        Runner(),
        image,
        0,
        {
            "piimage/provision/hostname": DataFile(b"shed\n", 0o644),
            "piimage/secret": DataFile(None, 0o750),
            "piimage/provision/new": DataFile(b""),
        },
    )
    checked(image)
    assert content(image, "/piimage/provision/hostname") == b"shed\n"
    assert content(image, "/state/owned") == b"x" * 10_000
    assert "Mode:  0750" in tool("debugfs", "-R", "stat /piimage/secret", image)


def test_existing_returns_the_present_paths(tmp_path: Path) -> None:
    image, _ = written(data(FILES), tmp_path)
    paths = ["state", "state/owned", "state/other", "missing/path"]
    assert existing(Runner(), image, 0, paths) == {"state", "state/owned"}


@pytest.mark.provokes("card.data-full")
def test_files_that_do_not_fit_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(PiimageError, match="cannot be written to the data partition"):
        written(data({"big": DataFile(bytes(range(256)) * 4096 * 60)}, 16 * MIB), tmp_path)


@pytest.mark.provokes("card.bad-name")
@pytest.mark.parametrize("path", ["/abs", "a b", "a/../b", "", 'q"', "line\nbreak", "a//b", "ü"])
def test_a_path_that_debugfs_could_misread_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(InputError, match="cannot be named"):
        written(data({path: DataFile(b"")}), tmp_path)


@pytest.mark.provokes("card.volume-size")
def test_a_data_partition_that_is_too_small_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="too few"):
        written(data({}, 8 * MIB), tmp_path)


@pytest.mark.provokes("card.no-data")
def test_a_partition_without_a_file_system_is_refused(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(bytes(16 * MIB))
    with pytest.raises(PiimageError, match="no healthy ext4"):
        put_files(Runner(), image, OFFSET, {"a": DataFile(b"")})


def test_used_blocks_are_all_but_the_free_blocks_of_dumpe2fs(tmp_path: Path) -> None:
    image, extents = written(data(FILES), tmp_path)
    free = int(tool("dumpe2fs", "-h", image).split("Free blocks:")[1].split()[0])
    assert used(Runner(), image) == extents
    assert total(extents) == 64 * MIB - free * 4096


def test_the_file_system_is_what_the_pi_expects(tmp_path: Path) -> None:
    """dumpe2fs(8); one block in a hundred is root's, and errors make it read-only."""
    image, _ = written(data({}), tmp_path)
    text = tool("dumpe2fs", image)
    fields = dict(re.findall(r"^([A-Z][^:\n]*):\s+(.*)$", text, re.MULTILINE))
    expected = {
        "Filesystem volume name": "data", "Filesystem UUID": str(ID),
        "Directory Hash Seed": str(ID), "Errors behavior": "Remount read-only",
        "Inode count": "4096", "Block count": "16384", "Reserved block count": "163",
        "Block size": "4096", "Blocks per group": "32768", "Inode size": "256",
        "Maximum mount count": "-1", "Check interval": "0 (<none>)",
        "Filesystem created": "Wed Jan  1 00:00:00 2025",
        "Reserved blocks uid": "0 (user root)",
    }  # fmt: skip
    assert fields["Total journal size"] in ("4M", "4096k")
    assert {name: fields.get(name) for name in expected} == expected
    assert set(fields["Filesystem features"].split()) == {
        *("has_journal", "ext_attr", "resize_inode", "dir_index", "filetype", "extent", "64bit"),
        *("flex_bg", "sparse_super", "large_file", "huge_file", "dir_nlink", "extra_isize"),
        "metadata_csum",
    }
    assert "ITABLE_ZEROED" in text


@pytest.mark.provokes("card.volume-size")
def test_a_file_system_of_16_mebibytes_is_the_smallest(tmp_path: Path) -> None:
    image, _ = written(data({}, 16 * MIB), tmp_path)
    assert "Block count:              4096" in tool("dumpe2fs", "-h", image)
    with pytest.raises(InputError) as caught:
        written(data({}, 16 * MIB - 4096), tmp_path)
    assert caught.value.message == "data: 15 MiB are too few for a growable ext4"
    assert caught.value.hint == "give it 16 MiB or more"


def test_files_are_put_and_read_within_a_larger_disk(tmp_path: Path) -> None:
    alone, _ = written(data({"state/owned": DataFile(b"x", 0o640, 7, 8)}, 16 * MIB), tmp_path)
    disk = tmp_path / "disk"
    with disk.open("wb") as file:
        file.truncate(OFFSET + 16 * MIB)
        for at, piece in stored(alone, 0, 16 * MIB):
            os.pwrite(file.fileno(), piece, OFFSET + at)
    runner = Runner()
    put_files(runner, disk, OFFSET, {})
    put_files(runner, disk, OFFSET, {"state": DataFile(None, 0o700, 5, 6)})
    put_files(runner, disk, OFFSET, {"state/new/er": DataFile(b"y" * 5000)})
    assert read_file(runner, disk, OFFSET, "state/new/er") == b"y" * 5000
    assert read_file(runner, disk, OFFSET, "state/owned") == b"x"
    assert read_file(runner, disk, OFFSET, "state/none") is None
    part(disk, alone, OFFSET, 16 * MIB)
    checked(alone)
    stat = tool("debugfs", "-R", "stat /state", alone)  # as it was told, not as a parent is made
    assert "Type: directory    Mode:  0700" in stat
    assert "User:     5   Group:     6" in stat
    stat = tool("debugfs", "-R", "stat /state/new", alone)
    assert "Type: directory    Mode:  0755" in stat
    stat = tool("debugfs", "-R", "stat /state/new/er", alone)
    assert "Type: regular    Mode:  0644" in stat
    assert "User:     0   Group:     0" in stat


@pytest.mark.provokes("card.no-data")
def test_what_is_no_file_system_has_no_files(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(bytes(MIB))
    with pytest.raises(PiimageError, match="Bad magic number"):
        read_file(Runner(), image, 0, "a")
