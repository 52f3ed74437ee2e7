"""Finds a kernel of Debian on this machine that a guest can boot, and unpacks it."""

from __future__ import annotations

import lzma
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chipmodels.testing.engine import GuestUnavailable
from chipmodels.testing.modules import Modules

_PREFIX = "vmlinuz-"
_XZ = b"\xfd7zXZ\0"
_ELF = b"\x7fELF"


@dataclass(frozen=True)
class Kernel:
    """The image of a kernel and the folder of its modules."""

    image: Path
    modules: Path


def newest(boot: Path, modules: Path, needed: Sequence[str]) -> Kernel:
    """Return the newest kernel in `boot` that has the `needed` modules or has them built in.

    Raises `GuestUnavailable`, which gives the reason for each unsuitable kernel.
    """
    reasons = []
    for image in sorted(boot.glob(f"{_PREFIX}*"), key=_age, reverse=True):
        kernel = Kernel(image, modules / image.name.removeprefix(_PREFIX))
        problem = _problem(kernel, needed)
        if problem is None:
            return kernel
        reasons.append(f"{image} {problem}")
    raise GuestUnavailable(", ".join(reasons) or f"there is no kernel in {boot}")


def _problem(kernel: Kernel, needed: Sequence[str]) -> str | None:
    if not (kernel.modules / "modules.dep").is_file():
        return f"has no modules in {kernel.modules}"
    modules = Modules(kernel.modules)
    missing = [name for name in needed if not modules.known(name)]
    if missing:
        return f"lacks {' '.join(missing)}"
    try:
        with kernel.image.open("rb"):
            return None
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _age(image: Path) -> list[tuple[int, str]]:
    """Return a sort key of the version: 6.12 is newer than 6.1."""
    return [(int(number or 0), text) for number, text in re.findall(r"(\d+)|(\D+)", image.name)]


def unpacked(image: bytes) -> bytes | None:
    """Return the kernel inside an x86 image that is packed by xz, else None.

    The kernel can unpack itself, but an emulated processor needs seconds for that.
    Source: Documentation/arch/x86/boot.rst of the kernel, the fields setup_sects, header,
    payload_offset and payload_length.
    """
    if len(image) < 0x250 or image[0x202:0x206] != b"HdrS":
        return None
    start, length = struct.unpack_from("<II", image, 0x248)
    start += ((image[0x1F1] or 4) + 1) * 512
    payload = image[start : start + length]
    if not payload.startswith(_XZ):
        return None
    try:
        kernel = lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(payload)
    except lzma.LZMAError:
        return None
    return kernel if kernel.startswith(_ELF) else None
