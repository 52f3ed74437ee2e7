"""Compose's variables: ``${NAME:-DEFAULT}`` in a file, and the files that set them.

Source: the Compose specification, "Interpolation" and "env_file".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

_LITERAL: Final = "\0"
"""Stands for the ``$`` of a literal ``${NAME}`` until all names are known."""

_WORD: Final = r"(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*"
"""What follows ``:-``; the Compose specification lets it hold further variables."""

_PIECE: Final = re.compile(
    r"\$(?:(?P<dollar>\$)|(?P<bare>[A-Za-z_][A-Za-z0-9_]*)"
    rf"|\{{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?:(?P<how>:?[-?+])(?P<word>{_WORD}))?\}})"
)


@dataclass
class Interpolation:
    """Rewrites a file's texts to piimage's variables, and remembers their names."""

    defaults: Mapping[str, str]
    """What the file .env beside the Compose file says."""
    names: set[str] = field(default_factory=set)
    within: set[str] = field(default_factory=set)
    """Those that stand within another's default, where piimage has none: filled in at once."""

    def rewritten(self, text: str) -> str:
        """Return `text` as piimage would have it; `finished` has to follow on each text made."""
        return _PIECE.sub(self._piece, text.replace(_LITERAL, ""))

    def _piece(self, match: re.Match[str]) -> str:
        if match["dollar"]:
            return _LITERAL
        name = match["name"] or match["bare"]
        how, word = match["how"] or "", _PIECE.sub(self._filled, match["word"] or "")
        if how.endswith("+"):
            return word if self.defaults.get(name) else ""
        self.names.add(name)
        default = self.defaults.get(name) or (word if how.endswith("-") else "")
        return f"${{{name}:-{default}}}" if default or how.endswith("-") else f"${{{name}}}"

    def _filled(self, match: re.Match[str]) -> str:
        if match["dollar"]:
            return _LITERAL
        name = match["name"] or match["bare"]
        how, word = match["how"] or "", _PIECE.sub(self._filled, match["word"] or "")
        self.within.add(name)
        said = self.defaults.get(name, "")
        if how.endswith("+"):
            return word if said else ""
        return said or (word if how.endswith("-") else "")

    def finished(self, text: str) -> str:
        """Return `text` with literal ``$`` written as piimage reads them."""
        for name in sorted(self.names):
            text = re.sub(rf"{_LITERAL}(?=\{{{name}\b)", "$$", text)
        return text.replace(_LITERAL, "$")


def settings(text: str) -> dict[str, str]:
    """Return what a file of NAME=VALUE lines says: comments, `export` and quotes are understood."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        name = name.strip()
        if not equals or name.startswith("#") or not re.fullmatch(r"[^\s'\"]+", name):
            continue
        found[name] = _unquoted(value.strip())
    return found


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        inner = value[1:-1]
        return inner if value[0] == "'" else inner.replace("\\n", "\n").replace('\\"', '"')
    return re.split(r"\s+#", value, maxsplit=1)[0]
