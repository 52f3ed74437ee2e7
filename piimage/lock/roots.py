"""The roots of a lock whose packages build something: none of them lands on a card."""

from __future__ import annotations

from typing import Final

TOOLCHAIN: Final = "toolchain"
HEADERS: Final = "kernel-headers"
SOURCE: Final = "kernel-source"


def is_for_building(root: str) -> bool:
    """Tell whether the packages of `root` are used to build, and not shipped."""
    return root.startswith(TOOLCHAIN) or root in (HEADERS, SOURCE)
