"""Samples several chips, each at its own interval, and passes the samples to the outputs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sensorkit.clock import Clock
from sensorkit.measurement import Channel, Sample
from sensorkit.supervise import Health, Supervised

_LAST_SAMPLE_SECONDS = 2.0
_STOP_SECONDS = 0.5
"""The longest time for which a group that waits for changes does not notice the end."""


Enough = Callable[[Iterable[bool]], bool]
"""Whether a service with these healthy chips is healthy: `all` of them, or `any`."""


@dataclass(frozen=True)
class Identity:
    """The name of a service, which prefixes metrics and topics, its title and its version."""

    name: str
    title: str
    version: str


@dataclass(frozen=True)
class ChipState:
    """The state of a chip: its last sample, which is empty once it is too old, and its health."""

    name: str
    model: str
    sample: Sample
    health: Health


class Output(Protocol):
    """Receives each sample. Must neither block for long nor raise."""

    def publish(self, state: ChipState) -> None:
        """Publish the state of a chip that was just sampled; its sample is empty on failure."""
        ...


def _never() -> bool:
    return False


@dataclass
class Plan:
    """A chip, its interval in seconds, and the channels that it publishes."""

    chip: Supervised
    interval: float
    channels: tuple[Channel, ...]
    due: float = field(default=0.0)
    group: str = ""
    """Chips of different groups, such as those of two buses, do not wait for each other."""
    changed: Callable[[], bool] = _never
    """Whether the chip is to be sampled before it is due."""
    alarm: threading.Event | None = None
    """Set when `changed` may have become true; one for each group."""
    switch: Callable[[bool], None] | None = None
    """Sets the output that the chip is."""


class Station:
    """The chips of one service. One thread calls `step` or `run`; any may call `states`.

    `run` samples each further group of chips in a thread of its own.
    """

    def __init__(self, plans: Sequence[Plan], outputs: Sequence[Output], clock: Clock) -> None:
        self._plans = tuple(plans)
        self._outputs = tuple(outputs)
        self._clock = clock
        self._lock = threading.Lock()
        self._publishing = threading.Lock()
        self._samples: dict[str, Sample] = {}
        self._channels = dict.fromkeys(channel for plan in plans for channel in plan.channels)

    @property
    def channels(self) -> tuple[Channel, ...]:
        """All channels that were published, or are known to be."""
        with self._lock:
            return tuple(self._channels)

    def states(self) -> Mapping[str, ChipState]:
        """Return the current state of each chip, by its name."""
        with self._lock:
            return {plan.chip.name: self._state(plan) for plan in self._plans}

    def healthy(self) -> bool:
        """Return whether every chip has a recent, plausible sample."""
        return all(state.health.healthy for state in self.states().values())

    def step(self) -> float:
        """Sample the chips that are due, and return the seconds until the next one is."""
        return self._step(self._plans)

    def run(self, stop: threading.Event) -> None:
        """Sample until `stop` is set."""
        groups: dict[str, list[Plan]] = {}
        for plan in self._plans:
            groups.setdefault(plan.group, []).append(plan)
        first, *others = groups.values()
        threads = [
            threading.Thread(target=self._run, args=(plans, stop), name=plans[0].group, daemon=True)
            for plans in others
        ]
        for thread in threads:
            thread.start()
        self._run(first, stop)
        for thread in threads:
            thread.join(_LAST_SAMPLE_SECONDS)

    def _run(self, plans: Sequence[Plan], stop: threading.Event) -> None:
        alarm = plans[0].alarm
        while not stop.is_set():
            wait = self._step(plans)
            if alarm is None:
                stop.wait(wait)
            else:
                alarm.wait(min(wait, _STOP_SECONDS))
                alarm.clear()

    def _step(self, plans: Sequence[Plan]) -> float:
        for plan in plans:
            if plan.due <= self._clock.monotonic() or plan.changed():
                self._sample(plan)
        return max(0.0, min(plan.due for plan in plans) - self._clock.monotonic())

    def _sample(self, plan: Plan) -> None:
        now = self._clock.monotonic()
        sample = plan.chip.poll()
        # The grid is fixed, so that intervals do not drift. Missed samples are skipped.
        if plan.due <= now:
            missed = int((now - plan.due) / plan.interval) if plan.due else 0
            plan.due = (plan.due or now) + plan.interval * (missed + 1)
        with self._lock:
            if sample:
                self._samples[plan.chip.name] = sample
                self._channels.update((m.channel, None) for m in sample)
            state = self._state(plan)
        fresh = ChipState(state.name, state.model, sample, state.health)
        with self._publishing:
            for output in self._outputs:
                output.publish(fresh)

    def _state(self, plan: Plan) -> ChipState:
        health = plan.chip.health()
        sample = self._samples.get(plan.chip.name, Sample()) if health.healthy else Sample()
        return ChipState(plan.chip.name, plan.chip.driver.model, sample, health)
