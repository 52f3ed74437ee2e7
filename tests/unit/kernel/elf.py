"""Small ELF files like those of kbuild, for the tests of the readers of modules."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence


def module(
    machine: int = 183,
    versions: Mapping[str, int] | None = None,
    alias: Sequence[str] = (),
    **fields: str,
) -> bytes:
    """Return an ELF file for `machine` (183 is AArch64) whose .modinfo has `fields`.

    It has each of the aliases in `alias`. With `versions` it has a section __versions with these
    symbols.
    """
    pairs = [*fields.items(), *(("alias", text) for text in alias)]
    modinfo = b"".join(f"{name}={value}".encode() + b"\0" for name, value in pairs)
    table = b"".join(
        struct.pack("<Q56s", version, name.encode()) for name, version in (versions or {}).items()
    )
    parts = {".modinfo": modinfo, "__versions": table, ".shstrtab": b""}
    if versions is None:
        del parts["__versions"]
    names = b"\0" + b"".join(name.encode() + b"\0" for name in parts)
    parts[".shstrtab"] = names
    body, rows = b"", bytes(64)
    for name, data in parts.items():
        at = names.index(b"\0" + name.encode()) + 1
        rows += struct.pack("<IIQQQQIIQQ", at, 1, 0, 0, 64 + len(body), len(data), 0, 0, 1, 0)
        body += data
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    count = len(parts) + 1
    numbers = (1, machine, 1, 0, 0, 64 + len(body), 0, 64, 0, 0, 64, count, count - 1)
    return header + struct.pack("<HHIQQQIHHHHHH", *numbers) + body + rows
