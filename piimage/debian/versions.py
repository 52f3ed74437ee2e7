"""The order of Debian versions (deb-version(7)), as a sort key."""

from __future__ import annotations

import functools
import re
from typing import Final

_PIECES: Final = re.compile(r"(\D*)(\d*)")
_END: Final = 0  # the end of a piece sorts after ~ and before everything else

Key = tuple[int, tuple[tuple[tuple[int, ...], int], ...], tuple[tuple[tuple[int, ...], int], ...]]


@functools.lru_cache(maxsize=1 << 14)
def key(version: str) -> Key:
    """Return the sort key of `version`: epoch, upstream version, revision.

    Never raises: a malformed epoch counts as part of the upstream version.
    """
    epoch, colon, rest = version.partition(":")
    if not colon or not epoch.isdecimal():
        epoch, rest = "0", version
    upstream, _, revision = rest.rpartition("-") if "-" in rest else (rest, "", "")
    return int(epoch), _part(upstream), _part(revision)


def _part(text: str) -> tuple[tuple[tuple[int, ...], int], ...]:
    # An empty text counts as the number 0. The pattern's empty match at the end stands for the end
    # of the text: ~ sorts before it, everything else after it.
    return tuple(
        ((*(_order(char) for char in letters), _END), int(digits or "0"))
        for letters, digits in _PIECES.findall(text or "0")
    )


def _order(char: str) -> int:
    """Return the rank of `char`: ``~`` before the end, then letters, then all others."""
    if char == "~":
        return -1
    return ord(char) if char.isascii() and char.isalpha() else ord(char) + 256
