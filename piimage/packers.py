"""Which programs of this host pack what goes on a card: they decide its bytes, not its content.

docs/decisions/0050-same-bytes.md says what was compared.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from piimage.run import clean_environment

ZSTD: Final = "libzstd"
"""The library that mksquashfs packs with."""

LAYERS: Final = ("mksquashfs", ZSTD)
"""What packs a layer."""

INITRAMFS: Final = ("zstd",)
"""What packs the initramfs."""

_UNKNOWN: Final = "unknown"


def identities() -> Mapping[str, str]:
    """Return what packs on this host, by name."""
    return {name: identity(name) for name in sorted((*LAYERS, *INITRAMFS))}


@functools.cache
def identity(name: str) -> str:
    """Return what tells one build of the program `name` from another: the digest of its file.

    That of `ZSTD` is its version; ``unknown`` stands for what is not there.
    """
    if name == ZSTD:
        return _zstd_version()
    program = shutil.which(name, path=clean_environment()["PATH"])
    if program is None:
        return _UNKNOWN
    return f"sha256:{hashlib.sha256(Path(program).read_bytes()).hexdigest()}"


def _zstd_version() -> str:
    try:
        library = ctypes.CDLL("libzstd.so.1")
    except OSError:
        return _UNKNOWN
    library.ZSTD_versionString.restype = ctypes.c_char_p
    return str(library.ZSTD_versionString().decode())
