"""The variables of UEFI in the second flash chip of an emulated machine.

Source: EDK II, MdeModulePkg/Include/Guid/VariableFormat.h (authenticated variables); UEFI Platform
Initialization Specification, volume 3, section 3.2.1 (the header of a firmware volume).
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_VOLUME: Final = (40, b"_FVH")
_HEADER_SIZE_AT: Final = 48
_STORE: Final = uuid.UUID("aaf32c78-947b-439a-a180-2e144ec37792").bytes_le
_STORE_HEADER: Final = struct.Struct("<16sI8x")
_VARIABLE: Final = struct.Struct("<HBxI8x16xIII16s")
_START: Final = 0x55AA
_LONGEST: Final = 1 << 20
"""More than the store of any firmware here, whose chip is 64 MiB large."""
_VALID: Final = (0x3F, 0x3E)  # written; written, and about to be replaced
_LOADER: Final = uuid.UUID("4a67b082-0a4c-41cf-b6c7-440b29bb8c4f").bytes_le


def one_shot_entry(flash: Path) -> str:
    """Return the entry that systemd-boot starts next, and only then; empty if there is none.

    Source: systemd, "The Boot Loader Interface", LoaderEntryOneShot.
    """
    with flash.open("rb") as file:
        data = file.read(_LONGEST)
    for vendor, name, value in _variables(data):
        if vendor == _LOADER and name == "LoaderEntryOneShot":
            return value.decode("utf-16-le", "replace").rstrip("\0")
    return ""


def _variables(data: bytes) -> Iterator[tuple[bytes, str, bytes]]:
    """Yield vendor, name and value of each variable; none if `data` is no such store."""
    offset, signature = _VOLUME
    if data[offset : offset + len(signature)] != signature:
        return
    (at,) = struct.unpack_from("<H", data, _HEADER_SIZE_AT)
    if len(data) < at + _STORE_HEADER.size:
        return
    kind, size = _STORE_HEADER.unpack_from(data, at)
    if kind != _STORE:
        return
    end = min(at + size, len(data))
    at += _STORE_HEADER.size
    while at + _VARIABLE.size <= end:
        start, state, _, _, name_size, value_size, vendor = _VARIABLE.unpack_from(data, at)
        if start != _START:
            return
        name_at = at + _VARIABLE.size
        value_at = name_at + name_size
        if state in _VALID:
            name = data[name_at:value_at].decode("utf-16-le", "replace").rstrip("\0")
            yield vendor, name, data[value_at : value_at + value_size]
        at = -(-(value_at + value_size) // 4) * 4
