"""Time for models and for the code under test: virtual, so that hours pass in milliseconds."""

from __future__ import annotations

import time
from typing import Protocol


class TimeSource(Protocol):
    """What a model needs of a clock."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary origin, never going back."""
        ...


class VirtualClock:
    """A clock that moves only when somebody sleeps on it.

    It has the three calls that programs use, so that it also serves the code under test:
    :meth:`monotonic`, :meth:`time` and :meth:`sleep`.
    """

    def __init__(self, epoch: float = 1_700_000_000.0) -> None:
        self._elapsed = 0.0
        self._epoch = epoch

    def monotonic(self) -> float:
        """Seconds slept since the clock was made."""
        return self._elapsed

    def time(self) -> float:
        """Seconds since 1970: the epoch given, plus what has been slept."""
        return self._epoch + self._elapsed

    def sleep(self, seconds: float) -> None:
        """Let `seconds` pass at once."""
        self._elapsed += max(0.0, seconds)


class RealClock:
    """The machine's own monotonic clock, for models behind a device node."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary origin."""
        return time.monotonic()
