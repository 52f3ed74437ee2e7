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
"""The text after ``:-``, which may itself contain variables."""

_PIECE: Final = re.compile(
    r"\$(?:(?P<dollar>\$)|(?P<bare>[A-Za-z_][A-Za-z0-9_]*)"
    rf"|\{{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?:(?P<how>:?[-?+])(?P<word>{_WORD}))?\}})"
)


@dataclass
class Interpolation:
    """Rewrites texts to piimage's form of variables, and collects the names."""

    defaults: Mapping[str, str]
    """The values in the file .env beside the Compose file."""
    names: set[str] = field(default_factory=set)
    within: set[str] = field(default_factory=set)
    """The variables inside another variable's default: piimage has none there, so their values are
    inserted."""

    def rewritten(self, text: str) -> str:
        """Return `text` in piimage's form; call `finished` on each resulting text afterwards."""
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
        value = self.defaults.get(name, "")
        if how.endswith("+"):
            return word if value else ""
        return value or (word if how.endswith("-") else "")

    def finished(self, text: str) -> str:
        """Return `text` with each literal ``$`` in piimage's notation."""
        for name in sorted(self.names):
            text = re.sub(rf"{_LITERAL}(?=\{{{name}\b)", "$$", text)
        return text.replace(_LITERAL, "$")


def settings(text: str) -> dict[str, str]:
    """Return the variables of a file of NAME=VALUE lines with comments, `export` and quotes."""
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
