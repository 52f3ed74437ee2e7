"""Time as the services see it, so that tests can let hours pass in milliseconds."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """The three calls of :mod:`time` that a service needs."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary origin, never going back."""
        ...

    def time(self) -> float:
        """Seconds since 1970, UTC; jumps when the Pi learns the time from the network."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class SystemClock:
    """The machine's clock."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary origin, never going back."""
        return time.monotonic()

    def time(self) -> float:
        """Seconds since 1970, UTC."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(max(0.0, seconds))
