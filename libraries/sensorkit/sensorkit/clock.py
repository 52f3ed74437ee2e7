"""The clock of a service. Tests pass one in which hours take milliseconds."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """The three functions of :mod:`time` that a service needs."""

    def monotonic(self) -> float:
        """Return the seconds since an arbitrary origin; they never decrease."""
        ...

    def time(self) -> float:
        """Return the seconds since 1970, UTC; they jump when the Pi gets the time by NTP."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait for `seconds`."""
        ...


class SystemClock:
    """The machine's clock."""

    def monotonic(self) -> float:
        """Return the seconds since an arbitrary origin; they never decrease."""
        return time.monotonic()

    def time(self) -> float:
        """Return the seconds since 1970, UTC."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Wait for `seconds`."""
        time.sleep(max(0.0, seconds))
