"""What this program needs of a GPIO line, whichever library has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from piimage_lines.settings import Line


class LineError(Exception):
    """A line cannot be had now."""


class Held(Protocol):
    """A line that this program holds."""

    def fileno(self) -> int:
        """Return the descriptor that is readable when there were edges."""
        ...

    def value(self) -> bool:
        """Return whether the line is active."""
        ...

    def set(self, value: bool) -> None:
        """Make an output active or not."""
        ...

    def edges(self) -> tuple[int, bool]:
        """Return the number of edges since the last call, and whether the last made it active.

        Raises OSError if the chip is gone.
        """
        ...

    def close(self) -> None:
        """Give the line back."""
        ...


Hold = Callable[[Line], Held]
"""Requests a line from the kernel. Raises `LineError` if it is not there, or is in use."""
