"""The last hours of each channel as means of time slots, in a fixed amount of memory."""

from __future__ import annotations

import math
import threading
from array import array
from dataclasses import dataclass

from sensorkit.measurement import Channel
from sensorkit.station import ChipState


@dataclass
class _Series:
    """A ring of slot means; a slot without a value is NaN."""

    channel: Channel
    means: array[float]
    newest: int = -1
    total: float = 0.0
    count: int = 0

    def add(self, slot: int, value: float) -> None:
        if slot < self.newest - 1:  # the clock was set back: the times of the kept values are wrong
            self.newest = -1
        slot = max(slot, self.newest)
        if slot > self.newest:
            for skipped in range(max(self.newest + 1, slot - len(self.means) + 1), slot):
                self.means[skipped % len(self.means)] = math.nan
            self.newest, self.total, self.count = slot, 0.0, 0
        self.total += value
        self.count += 1
        self.means[slot % len(self.means)] = self.total / self.count


class History:
    """An output that keeps the last `seconds` of each channel as `slots` means."""

    def __init__(self, channels: tuple[Channel, ...], *, seconds: float, slots: int) -> None:
        self.slot_seconds = seconds / slots
        self._slots = slots
        self._lock = threading.Lock()
        self._series = {channel: self._empty(channel) for channel in channels}

    def publish(self, state: ChipState) -> None:
        """Add a sample."""
        with self._lock:
            for m in state.sample:
                if m.channel not in self._series:
                    self._series[m.channel] = self._empty(m.channel)
                self._series[m.channel].add(int(m.time / self.slot_seconds), m.value)

    def _empty(self, channel: Channel) -> _Series:
        return _Series(channel, array("d", [math.nan]) * self._slots)

    def points(self, channel: Channel, now: float) -> list[tuple[float, float]]:
        """Return (time, mean) pairs of the time kept before `now`, the oldest first."""
        with self._lock:
            series = self._series.get(channel)
            if series is None:
                return []
            newest = series.newest
            first = max(newest, int(now / self.slot_seconds)) - self._slots + 1
            slots = range(max(0, first), newest + 1)
            pairs = [(s * self.slot_seconds, series.means[s % self._slots]) for s in slots]
        return [(time, mean) for time, mean in pairs if not math.isnan(mean)]
