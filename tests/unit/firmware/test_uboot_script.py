"""The script with which U-Boot chooses between two slots."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from piimage.card.fat_folders import FolderedVolume
from piimage.firmware import uboot_script
from piimage.firmware.uboot_script import MARK, SECTOR, image, script
from piimage.resources import path
from piimage.run import Runner


def text_of(data: bytes) -> str:
    """Return the text of a script, as U-Boot checks and reads it."""
    magic, checksum, time, size = struct.unpack_from(">IIII", data)
    assert (magic, time, size) == (0x27051956, 0, len(data) - 64)
    assert checksum == zlib.crc32(data[:4] + bytes(4) + data[8:64])
    assert struct.unpack_from(">I", data, 24) == (zlib.crc32(data[64:]),)
    assert data[28:32] == bytes([5, 22, 6, 0])  # Linux, arm64, a script, not compressed
    length, end = struct.unpack_from(">II", data, 64)
    assert (length, end) == (len(data) - 72, 0)
    return data[72:].decode("ascii")


def test_a_script_has_the_form_of_an_image_without_a_time() -> None:
    assert text_of(image("echo hello\n")) == "echo hello\n"
    assert image("echo hello\n") == image("echo hello\n")


def test_the_mark_is_removed_before_anything_starts() -> None:
    text = text_of(script(1 << 20, "now.env", "try.env"))
    lines = text.splitlines()
    written, chosen, started = (
        next(number for number, line in enumerate(lines) if word in line)
        for word in (" write ", "/try.env", "booti")
    )
    assert written < chosen < started
    # If the write fails, or if the sector is what it was, an ordinary start follows.
    between = "\n".join(lines[written:chosen])
    assert between.startswith("if ")
    assert "if itest.l *${kernel_addr_r} == 0; then" in between
    assert "for entry in ${piimage_entries} /now.env; do" in lines
    opened, closed = (sum(line.startswith(word) for line in lines) for word in ("if ", "fi"))
    assert opened == closed


def test_the_sector_is_counted_from_the_beginning_of_the_disk() -> None:
    assert " 0x810 1" in text_of(script(1 << 20, "a", "b"))
    assert " 0x8010 1" in text_of(script(16 << 20, "a", "b"))


def test_the_script_looks_for_what_the_system_writes() -> None:
    assert f"== 0x{int.from_bytes(MARK[:4], 'little'):x};" in text_of(script(1 << 20, "a", "b"))
    shell = (path("appliance") / "rootfs/usr/lib/piimage/try-flag.sh").read_text()
    assert f"MARK='{MARK.decode().strip()}'\n" in shell
    assert f"MARK_SECTOR={SECTOR}\n" in shell
    assert uboot_script.SCRIPT in shell


def test_the_file_system_does_not_use_the_sector(tmp_path: Path) -> None:
    card, size = tmp_path / "card", 48 << 20
    card.write_bytes(bytes(size))
    FolderedVolume("x", "X", 7, size, 16 << 20, {"a/x": b"x"}).write(Runner(), card, 0)
    data = card.read_bytes()
    (reserved,) = struct.unpack_from("<H", data, 14)
    assert reserved > SECTOR
    assert data[SECTOR * 512 : (SECTOR + 1) * 512] == bytes(512)
