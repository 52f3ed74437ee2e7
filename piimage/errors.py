"""The error type of piimage: a message, its place, and a hint at the remedy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar


class PiimageError(Exception):
    """A failure that is shown to the user without a traceback.

    `code` is stable (``area.problem``) and has an entry in docs/errors; `place` locates the cause
    (``file:line:column``, a package, a device); `hint` tells what to do.
    """

    exit_code: ClassVar[int] = 1

    def __init__(
        self, code: str, message: str, *, place: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.place = place
        self.hint = hint

    def __str__(self) -> str:
        place = f"{self.place}: " if self.place else ""
        hint = f"; {self.hint}" if self.hint else ""
        return f"{place}{self.message}{hint}"


class InputError(PiimageError):
    """The input of the user is invalid."""

    exit_code = 2


class MissingTool(PiimageError):
    """A program that piimage starts is missing on this host, or is too old."""

    exit_code = 3


class DeviceRefused(PiimageError):
    """A device that must not be written to."""

    exit_code = 4


class ErrorGroup(PiimageError):
    """Several errors of one input, reported together."""

    def __init__(self, errors: Iterable[PiimageError]) -> None:
        self.errors = tuple(errors)
        first = self.errors[0]
        super().__init__(first.code, "\n".join(str(error) for error in self.errors))
        self._exit_code = max(error.exit_code for error in self.errors)

    @property
    def exit_code(self) -> int:  # type: ignore[override]  # a group exits as its worst member
        """The highest exit code of the members."""
        return self._exit_code


def raise_all(errors: Iterable[PiimageError]) -> None:
    """Raise a single error as it is, several as a group; do nothing if there are none."""
    errors = tuple(errors)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ErrorGroup(errors)
