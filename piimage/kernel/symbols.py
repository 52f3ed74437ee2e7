"""Versions of symbols: those that a module needs, and those that the kernel exports.

Source: kernel/module/version.c and scripts/mod/modpost.c of the kernel (CONFIG_MODVERSIONS).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Final

from piimage.errors import InputError, PiimageError
from piimage.kernel.modinfo import ModuleInfo, read_modinfo, section

_VERSION: Final = struct.Struct("<Q56s")
_FEW: Final = 5


def exported_symbols(text: str) -> Mapping[str, int]:
    """Return the version of each symbol in a Module.symvers, with lines ``CRC NAME MODULE KIND``.

    Raises PiimageError ``kernel.bad-symbols``.
    """
    versions: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.split("\t")
        try:
            versions[fields[1]] = int(fields[0], 16)
        except (IndexError, ValueError) as error:
            raise PiimageError(
                "kernel.bad-symbols",
                f"line {number} is not a symbol: {line[:60]!r}",
                place="Module.symvers",
                hint="lock again with: piimage lock --update-all",
            ) from error
    return versions


def needed_symbols(module: bytes, place: str) -> Mapping[str, int]:
    """Return the version of each symbol that the ``.ko`` was built with.

    Raises PiimageError ``kernel.bad-module``.
    """
    raw = section(module, "__versions", place)
    if len(raw) % _VERSION.size:
        raise PiimageError(
            "kernel.bad-module",
            "its list of symbol versions is truncated",
            place=place,
            hint="build the module with: piimage module build",
        )
    return {
        name.partition(b"\0")[0].decode(errors="replace"): version
        for version, name in _VERSION.iter_unpack(raw)
    }


def require_symbols(
    module: bytes, place: str, exported: Mapping[str, int], release: str, others: frozenset[str]
) -> None:
    """Refuse a module that needs other symbols than the kernel `release` exports.

    `others` are the names of modules built out of tree, whose exports are not known here. Raises
    InputError ``kernel.symbol-version``, with both versions.
    """
    info = read_modinfo(module, place)
    lines = list(_mismatches(module, place, exported, from_others=bool(others & {*info.depends})))
    if lines:
        more = [f"... and {len(lines) - _FEW} more"] if len(lines) > _FEW else []
        symbols = "\n  ".join([*lines[:_FEW], *more])
        raise InputError(
            "kernel.symbol-version",
            f"built for {_release(info)}, the module does not match the kernel {release}:\n"
            f"  {symbols}",
            place=place,
            hint="build the module for the locked kernel with: piimage module build",
        )


def _mismatches(
    module: bytes, place: str, exported: Mapping[str, int], *, from_others: bool
) -> Iterator[str]:
    for name, needed in sorted(needed_symbols(module, place).items()):
        version = exported.get(name)
        if version is None and not from_others:
            yield f"{name}: the kernel does not export it"
        elif version is not None and version != needed:
            yield f"{name}: built with version {needed:#010x}, the kernel has {version:#010x}"


def _release(info: ModuleInfo) -> str:
    return info.vermagic.partition(" ")[0] or "an unknown kernel"
