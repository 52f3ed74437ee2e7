"""Supervision of one chip: retries, restarts, error counts and health.

No fault of a chip or a bus ends the service. A failed transfer is retried at once, a chip that lost
its settings is started again, and a chip that stays away is tried at growing intervals.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sensorkit.clock import Clock
from sensorkit.drivers.driver import Driver
from sensorkit.errors import BusError, InvalidReading, SensorError, Unconfirmed
from sensorkit.measurement import Channel, Measurement, Sample, find

Correction = Callable[[Sample], Sample]


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how soon to retry; times in seconds.

    A sample has `attempts`, with `pause` between them. After the last one, the next sample waits
    for `backoff_min`, which doubles each time up to `backoff_max`. The chip is started again after
    `invalid_before_restart` samples in a row without a valid value.
    """

    attempts: int = 3
    pause: float = 0.005
    backoff_min: float = 0.5
    backoff_max: float = 30.0
    invalid_before_restart: int = 5


@dataclass(frozen=True, slots=True)
class Health:
    """A chip's state at a moment.

    `age` is the time since its last valid sample, in seconds. `refused` says of each value that is
    missing in that sample why it was refused: a healthy chip may have such values.
    """

    healthy: bool
    reason: str
    age: float | None
    last_success: float | None
    samples: int
    starts: int
    errors: Mapping[str, int]
    refused: tuple[str, ...] = ()


class Supervised:
    """A driver that can be polled at any time and never raises."""

    def __init__(
        self,
        name: str,
        driver: Driver,
        clock: Clock,
        *,
        max_age: float,
        policy: RetryPolicy | None = None,
        corrections: tuple[Correction, ...] = (),
    ) -> None:
        self.name = name
        self.driver = driver
        self.max_age = max_age
        self._clock = clock
        self._policy = policy or RetryPolicy()
        self._corrections = corrections
        self._started = False
        self._retry_at = 0.0
        self._backoff = self._policy.backoff_min
        self._invalid = 0
        self._last: dict[Channel, Measurement] = {}
        self._success_at: float | None = None
        self._success_time: float | None = None
        self._reason = "not sampled yet"
        self._samples = 0
        self._starts = 0
        self._errors: Counter[str] = Counter()
        self._refused: tuple[str, ...] = ()

    def poll(self) -> Sample:
        """Return a valid sample, or an empty one if there is none now."""
        if not self._started and self._clock.monotonic() < self._retry_at:
            return Sample()
        for attempt in range(self._policy.attempts):
            if attempt:
                self._clock.sleep(self._policy.pause)
            try:
                return self._succeed(self._take())
            except InvalidReading as error:
                self._count(error)
                self._note_invalid()
                return Sample()
            except SensorError as error:
                self._count(error)
                # After a failed transfer alone, the chip still has its settings.
                self._started = self._started and isinstance(error, BusError | Unconfirmed)
        self._give_up()
        return Sample()

    def health(self) -> Health:
        """Return the state now: healthy if the last valid sample is not older than `max_age`."""
        age = None if self._success_at is None else self._clock.monotonic() - self._success_at
        healthy = age is not None and age <= self.max_age
        return Health(
            healthy,
            "" if healthy else self._reason,
            age,
            self._success_time,
            self._samples,
            self._starts,
            dict(self._errors),
            self._refused,
        )

    def _take(self) -> Sample:
        if not self._started:
            self.driver.start()
            self._started = True
            self._starts += 1
        sample = self._confirmed(self.driver.sample())
        for correction in self._corrections:
            sample = correction(sample)
        if not sample:
            raise InvalidReading("the corrections leave no possible value")
        return sample

    def _confirmed(self, sample: Sample) -> Sample:
        """Return the sample without values that jumped and that a second sample denies."""
        if not any(self._jumps(m) for m in sample):
            return self._remember(sample)
        second = self.driver.sample()
        denied = [m for m in sample if self._jumps(m) and not _is_confirmed(m, second)]
        kept = [m for m in sample if m not in denied]
        reasons = [f"{m.channel.key} jumped and a second sample disagreed" for m in denied]
        if not kept:
            raise Unconfirmed(reasons[0])
        return self._remember(Sample(kept, (*sample.refused, *reasons)))

    def _jumps(self, m: Measurement) -> bool:
        previous, limit = self._last.get(m.channel), m.channel.jump
        return limit is not None and (previous is None or abs(m.value - previous.value) > limit)

    def _remember(self, sample: Sample) -> Sample:
        self._last.update({m.channel: m for m in sample})
        return sample

    def _succeed(self, sample: Sample) -> Sample:
        self._backoff = self._policy.backoff_min
        self._invalid = 0
        self._samples += 1
        self._refused = sample.refused
        self._success_at = self._clock.monotonic()
        self._success_time = self._clock.time()
        return sample

    def _count(self, error: SensorError) -> None:
        self._errors[error.kind] += 1
        self._reason = str(error)

    def _note_invalid(self) -> None:
        """Start the chip again if it answers but has given no valid value for a while."""
        self._invalid += 1
        if self._invalid >= self._policy.invalid_before_restart:
            self._invalid = 0
            self._started = False

    def _give_up(self) -> None:
        """Start the chip again after the back-off, which grows each time."""
        self._started = False
        self._retry_at = self._clock.monotonic() + self._backoff
        self._backoff = min(self._policy.backoff_max, self._backoff * 2)


def _is_confirmed(m: Measurement, second: Sample) -> bool:
    other, limit = find(second, m.channel), m.channel.jump
    return other is not None and limit is not None and abs(m.value - other.value) <= limit
