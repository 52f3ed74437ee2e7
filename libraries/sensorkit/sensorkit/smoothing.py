"""The median or the mean of the last samples, as a correction of each sample."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Callable, Iterable
from types import MappingProxyType

from sensorkit.measurement import Channel, Measurement, Sample

METHODS: MappingProxyType[str, Callable[[Iterable[float]], float]] = MappingProxyType(
    {"median": statistics.median, "mean": statistics.fmean}
)
"""How several values become one, by the word in the file."""


class Smoothing:
    """Replaces each value by that of `method` over the channel's last `count` values.

    After a gap, values older than `max_age` seconds do not count. A count that only grows is left
    as it is.
    """

    def __init__(self, method: str, count: int, max_age: float) -> None:
        """Raises KeyError for a method that is not in `METHODS`."""
        self._method = METHODS[method]
        self._count = count
        self._max_age = max_age
        self._last: dict[Channel, deque[Measurement]] = {}

    def __call__(self, sample: Sample) -> Sample:
        """Return the smoothed sample."""
        return Sample(map(self._smoothed, sample), sample.refused)

    def _smoothed(self, new: Measurement) -> Measurement:
        if new.channel.quantity.total:
            return new
        last = self._last.setdefault(new.channel, deque(maxlen=self._count))
        last.append(new)
        # The clock may be set between two samples, in either direction.
        values = [m.value for m in last if abs(new.time - m.time) <= self._max_age]
        return Measurement(new.channel, self._method(values), new.time)
