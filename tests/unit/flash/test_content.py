from __future__ import annotations

import bz2
import io
import lzma
import struct
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piimage.errors import InputError, PiimageError
from piimage.flash import content
from tests.examples import examples

SECTOR = 512
SIZE = 64 * SECTOR


def mbr(*entries: tuple[int, int, int], status: int = 0) -> bytes:
    """The first sector of a disk with partitions of (type, first sector, sectors)."""
    table = b"".join(
        struct.pack("<B3xB3xII", status, kind, first, count) for kind, first, count in entries
    )
    return bytes(446) + table.ljust(64, b"\0") + b"\x55\xaa"


def gpt(last: int, copy: int) -> bytes:
    head = b"EFI PART".ljust(32, b"\0") + struct.pack("<QQQ", copy, 34, last)
    return mbr((0xEE, 1, 0xFFFFFFFF)) + head.ljust(SECTOR, b"\0")


@pytest.mark.parametrize(
    "head",
    [
        mbr((0x0C, 1, 63)),
        mbr((0x0C, 1, 8), (0x83, 9, 55), status=0x80),
        mbr((0x0C, 1, 8), (0x05, 9, 55)),
        gpt(last=30, copy=63),
    ],
)
def test_a_card_is_taken(head: bytes) -> None:
    content.require_card(head, SIZE, "x")


@pytest.mark.provokes("flash.bad-table")
@pytest.mark.parametrize(
    ("head", "why"),
    [
        (mbr((0x0C, 1, 64)), "exceed the disk"),
        (mbr((0x0C, 1, 9), (0x83, 9, 5)), "overlap"),
        (mbr((0x0C, 1, 9), status=0x13), "entry 1"),
        (mbr(), "no partitions"),
        (gpt(last=30, copy=64), "larger disk"),
        (gpt(last=64, copy=1), "larger disk"),
        (gpt(last=30, copy=1 << 63), "larger disk"),
    ],
)
def test_a_table_that_does_not_fit_the_image_is_refused(head: bytes, why: str) -> None:
    with pytest.raises(PiimageError, match=why) as caught:
        content.require_card(head, SIZE, "x")
    assert caught.value.code == "flash.bad-table"


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("pi4.img", mbr((0x0C, 1, 63)))
    return out.getvalue()


def tarred() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("pi4.img"), io.BytesIO())
    return out.getvalue()


def filed(*command: str) -> Callable[[Path], bytes]:
    """What a program of the host writes into a file of 1 MiB."""

    def make(folder: Path) -> bytes:
        path = folder / "made"
        with path.open("wb") as out:
            out.truncate(1 << 20)
        subprocess.run([*command, path], check=True, capture_output=True)
        return path.read_bytes()

    return make


@pytest.mark.provokes("flash.other-format")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda _: zipped(), "a zip archive"),
        (lambda _: tarred(), "a tar archive"),
        (lambda _: bz2.compress(b"x"), "compressed with bzip2"),
        (lambda _: lzma.compress(b"x"), "compressed with xz a second time"),
        (lambda _: lzma.compress(b"x", lzma.FORMAT_ALONE), "compressed with lzma"),
        (lambda _: b"%PDF-1.7\n", "a PDF document"),
        (lambda _: Path("/bin/true").read_bytes(), "a program"),
        (lambda _: b"<!DOCTYPE html><html>", "a web page"),
        (lambda _: b'<?xml version="1.0"?>', "an XML file"),
        (lambda _: b"board: pi4\n", "a text"),
        (lambda _: bytes(4096), "all zeros"),
        (lambda _: b"\x01\x80\0" * 900, "of an unknown format, without a partition table"),
        (filed("mkfs.vfat"), "a FAT file system without"),
        (filed("mkfs.vfat", "-F", "32"), "a FAT file system without"),
        # Microsoft's exFAT and NTFS: a jump, the name, a boot program where a table would be.
        (
            lambda _: b"\xeb\x76\x90EXFAT   " + bytes(109) + b"\xf4" * 390 + b"\x55\xaa",
            "an exFAT file",
        ),
        (
            lambda _: b"\xeb\x52\x90NTFS    " + bytes(109) + b"\xf4" * 390 + b"\x55\xaa",
            "an NTFS file",
        ),
        (filed("mkfs.ext4"), "an ext4 file system without"),
    ],
)
def test_what_is_no_card_is_refused_by_its_name(
    tmp_path: Path, make: Callable[[Path], bytes], message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        content.require_card(make(tmp_path)[: 64 << 10], SIZE, "x.img")
    assert caught.value.code == "flash.other-format"


@pytest.mark.parametrize(
    ("at", "mark", "message"),
    [
        (0, b"PK\5\6", "an empty zip archive"),  # PKWARE APPNOTE.TXT, 4.3.16
        (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),  # 7zFormat.txt
        (0, b"Rar!\x1a\7", "a rar archive"),
        (0, b"LZIP", "compressed with lzip"),
        (0, b"\4\x22\x4d\x18", "compressed with lz4"),  # lz4_Frame_format.md: 0x184D2204
        (0, b"\x1f\x9d", "compressed with compress"),
        (0, b"!<arch>\n", "a Debian package"),  # deb(5)
        (0, b"070701", "a cpio archive"),  # buffer-format.rst
        (0, b"MZ", "a Windows program"),
        (0, b"QFI\xfb", "(qcow2)"),  # QEMU, docs/interop/qcow2.txt
        (0, b"KDMV", "a disk of VMware"),
        (0, b"vhdxfile", "a disk of Hyper-V"),  # MS-VHDX, 2.2.1
        (0, b"conectix", "a disk of Virtual PC"),
        (64, b"\x7f\x10\xda\xbe", "a disk of VirtualBox"),
        (0, b"hsqs", "a squashfs file system"),  # Documentation/filesystems/squashfs.rst
        (0, b"\x89PNG", "a picture"),
        (0, b"\xff\xd8\xff", "a picture"),
    ],
)
def test_other_formats_are_known_by_their_marks(at: int, mark: bytes, message: str) -> None:
    """Where each format's description or magic(5) has its mark, and nowhere else."""
    assert message in content.name(bytes(at) + mark + bytes(100))
    assert message not in content.name(bytes(at + 1) + mark + bytes(100))


def test_a_cd_is_known_by_its_seventeenth_sector() -> None:
    assert content.name(bytes(32769) + b"CD001") == "the image of a CD"


@settings(max_examples=examples(200))
@given(head=st.binary(max_size=700), size=st.integers(0, 1 << 41), at=st.integers(440, 511))
def test_any_start_is_taken_or_refused(head: bytes, size: int, at: int) -> None:
    sector = bytearray(gpt(30, 63) if size % 2 else mbr((0x0C, 1, 63)))
    sector[at : at + len(head)] = head
    try:
        content.require_card(bytes(sector), size, "x")
    except PiimageError as error:
        assert error.code in ("flash.other-format", "flash.bad-table")


@pytest.mark.parametrize(
    ("head", "packing"),
    [
        (b"\xfd7zXZ\0", "xz"), (b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"),
        # RFC 8878, 3.1.2: 0x184D2A50 to 0x184D2A5F, little-endian
        (b"\x50\x2a\x4d\x18", "zstd"), (b"\x5f\x2a\x4d\x18more", "zstd"),
        (b"\x60\x2a\x4d\x18", ""), (b"\x4f\x2a\x4d\x18", ""), (b"\x50\x2a\x4d", ""), (b"", ""),
    ],
)  # fmt: skip
def test_how_a_file_is_packed(head: bytes, packing: str) -> None:
    assert content.packing(head) == packing


@pytest.mark.parametrize(
    ("head", "message"),
    [(b"SIMPLE  =  T", "a FITS file"), (b"\n  <html>", "a web page"), (b"a\0", "unknown format"),
     (b"a\xff", "unknown format"), (b"", "all zeros"), (b"caf", "a text file")],
)  # fmt: skip
def test_other_starts_have_names_too(head: bytes, message: str) -> None:
    assert message in content.name(head)


@pytest.mark.parametrize("entry", range(4))
def test_a_protective_entry_may_be_any_of_the_four(entry: int) -> None:
    """UEFI 2.10, 5.2.3; a header elsewhere is no GPT, nor is one without such an entry."""
    entries = [(0x0C, 1, 63) if n == 0 else (0, 0, 0) for n in range(4)]
    entries[entry] = (0xEE, 1, 0xFFFFFFFF)
    head = mbr(*entries) + gpt(last=30, copy=63)[SECTOR:]
    content.require_card(head, SIZE, "x")
    with pytest.raises(PiimageError, match="exceed the disk"):
        content.require_card(mbr(*entries) + bytes(SECTOR), SIZE, "x")


def test_a_header_that_is_cut_short_reads_as_zeros() -> None:
    content.require_card(gpt(last=30, copy=63)[: SECTOR + 40], SIZE, "x")
