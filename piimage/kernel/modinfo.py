"""The information in a kernel module: the ``.modinfo`` section of its ELF file.

Source: System V ABI, "Sections"; include/linux/module.h of the kernel (MODULE_INFO).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from piimage.errors import PiimageError

_HEADER: Final = struct.Struct("<16xHHIQQQIHHHHHH")
_SECTION: Final = struct.Struct("<IIQQQQIIQQ")
_AARCH64: Final = 183


@dataclass(frozen=True)
class ModuleInfo:
    """Name, version magic, dependencies, soft dependencies and parameters of a module."""

    name: str
    vermagic: str
    depends: tuple[str, ...]
    soft_before: tuple[str, ...]
    parameters: tuple[str, ...]
    aliases: tuple[str, ...] = ()
    """Patterns of the modaliases of its devices (``of:…``, ``usb:…``)."""


def normal_name(name: str) -> str:
    """Return the kernel's name of a module: without extensions, with ``_`` for ``-``."""
    return name.rpartition("/")[2].partition(".ko")[0].replace("-", "_")


def read_modinfo(module: bytes, place: str) -> ModuleInfo:
    """Read an uncompressed arm64 ``.ko``.

    Raises PiimageError ``kernel.bad-module`` if `module` is not a kernel module.
    """
    raw = section(module, ".modinfo", place)
    try:
        pairs = [item.decode().partition("=")[::2] for item in raw.split(b"\0") if item]
    except ValueError as error:
        raise _bad(place, error) from error
    values = [value for name, value in pairs if name == "depends"]
    soft = [
        value.partition("pre:")[2].partition("post:")[0] for n, value in pairs if n == "softdep"
    ]
    first = dict(reversed(pairs))
    return ModuleInfo(
        name=first.get("name", normal_name(place)),
        vermagic=first.get("vermagic", ""),
        depends=tuple(normal_name(n) for value in values for n in value.split(",") if n),
        soft_before=tuple(normal_name(n) for value in soft for n in value.split()),
        parameters=tuple(value.partition(":")[0] for n, value in pairs if n == "parmtype"),
        aliases=tuple(value for n, value in pairs if n == "alias"),
    )


def section(module: bytes, name: str, place: str) -> bytes:
    """Return the content of the section `name` of an uncompressed arm64 ``.ko``.

    Raises PiimageError ``kernel.bad-module`` if `module` is not a kernel module, or does not have
    the section.
    """
    try:
        return _section(module, name.encode())
    except (struct.error, ValueError, IndexError, OverflowError) as error:
        raise _bad(place, error) from error


def _bad(place: str, error: Exception) -> PiimageError:
    return PiimageError(
        "kernel.bad-module",
        f"this is not a kernel module for arm64 ({error})",
        place=place,
        hint="build the module with: piimage module build",
    )


def _section(elf: bytes, name: bytes) -> bytes:
    if elf[:6] != b"\x7fELF\x02\x01":
        raise ValueError("it is not a 64-bit little-endian ELF file")
    header = _HEADER.unpack_from(elf)
    machine, table = header[1], header[5]
    size, count, names_at = header[10], header[11], header[12]
    if machine != _AARCH64:
        raise ValueError(f"it is for ELF machine {machine}, not for AArch64 ({_AARCH64})")
    if size != _SECTION.size:
        raise ValueError("its section headers have an unknown size")
    sections = [_SECTION.unpack_from(elf, table + number * size) for number in range(count)]
    names = _bytes(elf, sections[names_at])
    for section in sections:
        if names[section[0] : names.index(b"\0", section[0])] == name:
            return _bytes(elf, section)
    raise ValueError(f"it has no section {name.decode()}")


def _bytes(elf: bytes, section: tuple[int, ...]) -> bytes:
    offset, length = section[4], section[5]
    if offset + length > len(elf):
        raise ValueError("it is truncated")
    return elf[offset : offset + length]
