"""The host programs that pack the files of a card: they affect its bytes, not its content.

docs/decisions/0050-same-bytes.md has the comparison.
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
"""The library that mksquashfs compresses with."""

LAYERS: Final = ("mksquashfs", ZSTD)
"""The packers of a layer."""

INITRAMFS: Final = ("zstd",)
"""The packers of the initramfs."""

_UNKNOWN: Final = "unknown"


def identities() -> Mapping[str, str]:
    """Return the identities of this host's packers, by name."""
    return {name: identity(name) for name in sorted((*LAYERS, *INITRAMFS))}


@functools.cache
def identity(name: str) -> str:
    """Return a text that identifies the build of the program `name`: the digest of its file.

    The identity of `ZSTD` is its version; that of a missing program is ``unknown``.
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
