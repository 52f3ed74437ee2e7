"""A fault of a container's configuration, as `check` and `build` report it."""

from __future__ import annotations

from dataclasses import dataclass

from piimage.errors import InputError


@dataclass(frozen=True)
class Fault:
    """A fault that keeps a container from starting; `keys` lead to its cause in the entry."""

    code: str
    keys: tuple[str | int, ...]
    message: str
    instead: str

    def error(self, place: str) -> InputError:
        """Return the error with `place`, where its cause is."""
        return InputError(self.code, self.message, place=place, hint=f"instead: {self.instead}")
