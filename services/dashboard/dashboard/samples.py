"""The last hour of the Pi as samples, and how busy processors and services are between two."""

from __future__ import annotations

import math
import threading
from array import array
from collections.abc import Mapping, Sequence

from dashboard.host import Host
from dashboard.services import Service

PERIOD_SECONDS = 10
_SLOTS = 360
SERIES = ("cpu_percent", "memory_percent", "celsius")


class Samples:
    """Rings of samples, one each `PERIOD_SECONDS`; a value that is not known is NaN."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._times = array("d")
        self._values = {name: array("f") for name in SERIES}
        self._host: tuple[float, float] | None = None
        self._used: dict[str, tuple[float, float]] = {}
        self._percent: dict[str, float] = {}

    def add(self, time: float, uptime: float, host: Host, services: Sequence[Service]) -> None:
        """Add the state at `time` (seconds since 1970) and `uptime` (seconds since the boot)."""
        cpu = self._cpu(host)
        memory = _percent(host.memory_bytes - host.available_bytes, host.memory_bytes)
        celsius = math.nan if host.celsius is None else host.celsius
        with self._lock:
            self._times.append(time)
            for name, value in zip(SERIES, (cpu, memory, celsius), strict=True):
                self._values[name].append(value)
            if len(self._times) > _SLOTS:
                del self._times[0]
                for values in self._values.values():
                    del values[0]
            self._note(uptime, services)

    def _cpu(self, host: Host) -> float:
        before, self._host = self._host, (host.busy_seconds, host.all_seconds)
        if before is None:
            return math.nan
        return _percent(host.busy_seconds - before[0], host.all_seconds - before[1])

    def _note(self, uptime: float, services: Sequence[Service]) -> None:
        used = {s.name: (uptime, s.cpu_seconds) for s in services if s.cpu_seconds is not None}
        self._percent = {
            name: _percent(seconds - self._used[name][1], now - self._used[name][0])
            for name, (now, seconds) in used.items()
            # A container that was started anew counts from zero.
            if name in self._used and seconds >= self._used[name][1]
        }
        self._used = used

    def cpu_percent(self) -> Mapping[str, float]:
        """Return how busy each service was between the last two samples; 100 is one processor."""
        with self._lock:
            return {name: value for name, value in self._percent.items() if not math.isnan(value)}

    def series(self) -> dict[str, list[tuple[int, float | None]]]:
        """Return the samples of each series as (time, value), oldest first."""
        with self._lock:
            return {
                name: [
                    (round(time), None if math.isnan(value) else round(value, 1))
                    for time, value in zip(self._times, values, strict=True)
                ]
                for name, values in self._values.items()
            }


def _percent(part: float, whole: float) -> float:
    return 100 * part / whole if whole > 0 else math.nan
