"""The one error type: what went wrong, where, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar


class PiimageError(Exception):
    """A failure that is shown to the user as it is, without a traceback.

    `code` is stable (``area.what``) and has an entry in docs/errors; `place` is where the cause
    lies (``file:line:column``, a package, a device); `hint` says what to do.
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
    """What the user wrote cannot be used."""

    exit_code = 2


class MissingTool(PiimageError):
    """A program that piimage starts is not on this host, or is too old."""

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
        """The exit code of the gravest member."""
        return self._exit_code


def raise_all(errors: Iterable[PiimageError]) -> None:
    """Raise the one error, or all of them as a group; do nothing when there are none."""
    found = tuple(errors)
    if len(found) == 1:
        raise found[0]
    if found:
        raise ErrorGroup(found)
