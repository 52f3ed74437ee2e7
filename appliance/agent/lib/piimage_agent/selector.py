"""The file autoboot.txt on the first partition: which slot boots, and which one a try boots.

It is changed in place, in one sector, through the block device: a FAT file system that is mounted
or whose folder is rewritten can be lost with the power. Source of the format: Microsoft FAT
specification (2005), sections 3 and 6; documentation of Raspberry Pi, "autoboot.txt".
"""

from __future__ import annotations

import os
import struct

from piimage_agent.disk import read_uncached, write_sector
from piimage_agent.refusal import Refused

SECTOR = 512
_ENTRY = 32
_NAME = b"AUTOBOOTTXT"
_NOT_A_FILE = 0x18  # attributes of a folder and of a volume's label


def text(active: str, other: str) -> bytes:
    """Return the content that boots partition `active`, and `other` on a try."""
    return (
        f"[all]\ntryboot_a_b=1\nboot_partition={active}\n[tryboot]\nboot_partition={other}\n"
    ).encode()


class Selector:
    """autoboot.txt on the block device of the first partition.

    Raises Refused ``no-selector`` if the file is missing, or too short to be changed in place.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        fd = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._at, self._size = _find(fd)
        finally:
            os.close(fd)

    @property
    def content(self) -> bytes:
        """The present content, read past the cache."""
        return read_uncached(self._device, self._at, SECTOR)[: self._size]

    def active(self) -> str:
        """Return the partition that boots; empty if the file does not say so."""
        section = b"[all]"
        found = ""
        for line in self.content.split(b"\n"):
            word = line.strip()
            if word.startswith(b"["):
                section = word
            key, _, value = word.partition(b"=")
            if section == b"[all]" and key == b"boot_partition" and value.isdigit():
                found = value.decode()
        return found

    def set(self, active: str, other: str) -> None:
        """Write one sector, and read it back; raises Refused ``card-lies``."""
        content = text(active, other)
        if len(content) > self._size:
            raise Refused(
                "no-selector", "autoboot.txt of this card is too short to name both slots",
                "flash the card once with this version of piimage",
            )  # fmt: skip
        sector = content.ljust(self._size, b"\n").ljust(SECTOR, b"\0")
        if read_uncached(self._device, self._at, SECTOR) != sector:
            write_sector(self._device, self._at, sector)


def _find(fd: int) -> tuple[int, int]:
    """Return the offset and the size of autoboot.txt in a FAT16 file system."""
    boot = os.pread(fd, SECTOR, 0)
    if len(boot) < SECTOR or boot[510:] != b"\x55\xaa":
        raise _no_selector("the first partition has no FAT file system")
    sector, per_cluster, reserved, fats, roots = struct.unpack_from("<HBHBH", boot, 11)
    (table,) = struct.unpack_from("<H", boot, 22)
    if sector != SECTOR or not per_cluster or not fats or not table or not roots:
        raise _no_selector("the first partition is not a FAT16")
    root_at = (reserved + fats * table) * sector
    data_at = root_at + -(-roots * _ENTRY // sector) * sector
    folder = os.pread(fd, roots * _ENTRY, root_at)
    for at in range(0, len(folder), _ENTRY):
        entry = folder[at : at + _ENTRY]
        if entry[:1] == b"\0":
            break
        if entry[:11] == _NAME and not entry[11] & _NOT_A_FILE:
            cluster, size = struct.unpack_from("<HI", entry, 26)
            if cluster < 2 or not 0 < size <= SECTOR:
                raise _no_selector("autoboot.txt has an impossible size")
            return data_at + (cluster - 2) * per_cluster * sector, size
    raise _no_selector("the first partition has no autoboot.txt")


def _no_selector(reason: str) -> Refused:
    return Refused(
        "no-selector", f"this card cannot choose between two slots: {reason}",
        "flash the card once with this version of piimage",
    )  # fmt: skip
