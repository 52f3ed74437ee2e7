"""Versions of the kernel's symbols: what a module wants, and what the kernel has.

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
    """Return the version of each symbol in a Module.symvers: ``CRC NAME MODULE KIND`` a line.

    Raises PiimageError ``kernel.bad-symbols``.
    """
    found: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.split("\t")
        try:
            found[fields[1]] = int(fields[0], 16)
        except (IndexError, ValueError) as error:
            raise PiimageError(
                "kernel.bad-symbols",
                f"line {number} is no symbol: {line[:60]!r}",
                place="Module.symvers",
                hint="lock again with: piimage lock --update-all",
            ) from error
    return found


def wanted_symbols(module: bytes, place: str) -> Mapping[str, int]:
    """Return the version of each symbol that the ``.ko`` was built with.

    Raises PiimageError ``kernel.bad-module``.
    """
    raw = section(module, "__versions", place)
    if len(raw) % _VERSION.size:
        raise PiimageError(
            "kernel.bad-module",
            "its list of symbol versions is cut short",
            place=place,
            hint="build it with: piimage module build",
        )
    return {
        name.partition(b"\0")[0].decode(errors="replace"): version
        for version, name in _VERSION.iter_unpack(raw)
    }


def require_symbols(
    module: bytes, place: str, exported: Mapping[str, int], release: str, others: frozenset[str]
) -> None:
    """Refuse a module that wants other symbols than the kernel `release` has.

    `others` are names of modules built out of tree: what those export is not known here. Raises
    InputError ``kernel.symbol-version``, with the versions of both.
    """
    info = read_modinfo(module, place)
    lines = list(_misfits(module, place, exported, from_others=bool(others & {*info.depends})))
    if lines:
        more = [f"... and {len(lines) - _FEW} more"] if len(lines) > _FEW else []
        said = "\n  ".join([*lines[:_FEW], *more])
        raise InputError(
            "kernel.symbol-version",
            f"built for {_release(info)}, it does not fit the kernel {release}:\n  {said}",
            place=place,
            hint="build it against the locked kernel with: piimage module build",
        )


def _misfits(
    module: bytes, place: str, exported: Mapping[str, int], *, from_others: bool
) -> Iterator[str]:
    for name, wanted in sorted(wanted_symbols(module, place).items()):
        there = exported.get(name)
        if there is None and not from_others:
            yield f"{name}: the kernel does not export it"
        elif there is not None and there != wanted:
            yield f"{name}: built with version {wanted:#010x}, the kernel has {there:#010x}"


def _release(info: ModuleInfo) -> str:
    return info.vermagic.partition(" ")[0] or "an unknown kernel"
