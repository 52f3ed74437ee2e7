"""Small ELF files as kbuild would make them, for the tests of what reads modules."""

from __future__ import annotations

import struct


def module(machine: int = 183, **fields: str) -> bytes:
    """An ELF file of `machine` (183 is AArch64) whose .modinfo has `fields`."""
    modinfo = b"".join(f"{name}={value}".encode() + b"\0" for name, value in fields.items())
    names = b"\0.modinfo\0.shstrtab\0"
    start = 64
    table = start + len(modinfo) + len(names)
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 1, machine, 1, 0, 0, table, 0, 64, 0, 0, 64, 3, 2)
    sections = bytes(64)
    sections += struct.pack("<IIQQQQIIQQ", 1, 1, 0, 0, start, len(modinfo), 0, 0, 1, 0)
    at = start + len(modinfo)
    sections += struct.pack("<IIQQQQIIQQ", 10, 3, 0, 0, at, len(names), 0, 0, 1, 0)
    return header + modinfo + names + sections
