"""Clocks for models and for the code under test. In virtual time, hours take milliseconds."""

from __future__ import annotations

import time
from typing import Protocol


class TimeSource(Protocol):
    """The clock function that a model needs."""

    def monotonic(self) -> float:
        """Return the seconds since an arbitrary origin; they never decrease."""
        ...


class VirtualClock:
    """A clock that advances only by `sleep`.

    It has the three functions that programs use, so that the code under test can use it as well.
    """

    def __init__(self, epoch: float = 1_700_000_000.0) -> None:
        self._elapsed = 0.0
        self._epoch = epoch

    def monotonic(self) -> float:
        """Return the seconds slept since the clock was made."""
        return self._elapsed

    def time(self) -> float:
        """Return the seconds since 1970: the given epoch plus the seconds slept."""
        return self._epoch + self._elapsed

    def sleep(self, seconds: float) -> None:
        """Advance by `seconds` at once."""
        self._elapsed += max(0.0, seconds)


class RealClock:
    """The machine's own monotonic clock, for models behind a device node."""

    def monotonic(self) -> float:
        """Return the seconds since an arbitrary origin."""
        return time.monotonic()
