"""Patterns of paths: ``*`` within a name, ``**`` across folders, ``?`` for one character."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable


@functools.cache
def matcher(patterns: tuple[str, ...]) -> Matcher:
    """Return the one test for all `patterns`."""
    return Matcher(patterns)


class Matcher:
    """Tells whether a path, or a folder above it, matches one of the patterns."""

    def __init__(self, patterns: Iterable[str]) -> None:
        alternatives = "|".join(_expression(pattern.strip("/")) for pattern in patterns)
        self._match = re.compile(f"(?:{alternatives})(?:/.*)?", re.DOTALL).fullmatch
        self._empty = not alternatives

    def __call__(self, path: str) -> bool:
        """Test `path`."""
        return not self._empty and self._match(path) is not None


def _expression(pattern: str) -> str:
    translated = {"**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*|\*|\?)", pattern)
    return "".join(translated.get(part, re.escape(part)) for part in parts)
