"""The files of the Pi as the container sees them, below a folder that tests replace."""

from __future__ import annotations

import os
import re

_LIMIT = 64 * 1024
_NUMBER = re.compile(r"-?[0-9]{1,20}")


class Root:
    """The folder that stands for ``/`` of the container."""

    def __init__(self, folder: str = "/") -> None:
        self._folder = folder

    def at(self, path: str) -> str:
        """Return where `path`, which is relative, is found."""
        return f"{self._folder.rstrip('/')}/{path}"

    def text(self, path: str) -> str:
        """Return a file's text, at most 64 KiB of it; empty if it cannot be read."""
        try:
            with open(self.at(path), encoding="utf-8", errors="replace") as file:  # noqa: PTH123
                return file.read(_LIMIT)
        except OSError:
            return ""

    def line(self, path: str) -> str:
        """Return a file's first line; empty if it cannot be read."""
        return self.text(path).partition("\n")[0].strip()

    def number(self, path: str) -> int | None:
        """Return the number that a file consists of; None if it is missing or no number."""
        text = self.line(path)
        return int(text) if _NUMBER.fullmatch(text) else None

    def table(self, path: str) -> dict[str, int]:
        """Return the numbers of a file with lines ``NAME NUMBER``, as cgroups have them."""
        pairs = (line.split() for line in self.text(path).splitlines())
        return {
            pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and _NUMBER.fullmatch(pair[1])
        }

    def names(self, path: str) -> list[str]:
        """Return the names in a folder in order; none if it cannot be read."""
        try:
            return sorted(os.listdir(self.at(path)))  # noqa: PTH208 -- pathlib is dear in memory
        except OSError:
            return []
