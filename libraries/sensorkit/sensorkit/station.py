"""Sampling several chips, each at its own interval, and telling the outputs."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sensorkit.clock import Clock
from sensorkit.measurement import Channel, Sample
from sensorkit.supervise import Health, Supervised


@dataclass(frozen=True)
class Identity:
    """Who the service is: `name` prefixes metrics and topics; `version` is its own."""

    name: str
    title: str
    version: str


@dataclass(frozen=True)
class ChipState:
    """What is known of a chip: its last sample, emptied when it grows old, and its health."""

    name: str
    model: str
    sample: Sample
    health: Health


class Output(Protocol):
    """Takes each sample. Must not block for long, and must not raise."""

    def publish(self, state: ChipState) -> None:
        """A chip has been sampled; its sample is empty when that failed."""
        ...


@dataclass
class Plan:
    """A chip, its interval in seconds, and the channels that it publishes."""

    chip: Supervised
    interval: float
    channels: tuple[Channel, ...]
    due: float = field(default=0.0)


class Station:
    """The chips of one service. `step` and `run` are for one thread; `states` for any."""

    def __init__(self, plans: Sequence[Plan], outputs: Sequence[Output], clock: Clock) -> None:
        self._plans = tuple(plans)
        self._outputs = tuple(outputs)
        self._clock = clock
        self._lock = threading.Lock()
        self._samples: dict[str, Sample] = {}

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Every channel that may be published."""
        return tuple(channel for plan in self._plans for channel in plan.channels)

    def states(self) -> Mapping[str, ChipState]:
        """Each chip's state now."""
        with self._lock:
            return {plan.chip.name: self._state(plan) for plan in self._plans}

    def healthy(self) -> bool:
        """Whether every chip has a recent, plausible sample."""
        return all(state.health.healthy for state in self.states().values())

    def step(self) -> float:
        """Sample what is due; the seconds until something is due again."""
        for plan in self._plans:
            if plan.due <= self._clock.monotonic():
                self._sample(plan)
        return max(0.0, min(plan.due for plan in self._plans) - self._clock.monotonic())

    def run(self, stop: threading.Event) -> None:
        """Sample until `stop` is set."""
        while not stop.is_set():
            stop.wait(self.step())

    def _sample(self, plan: Plan) -> None:
        now = self._clock.monotonic()
        sample = plan.chip.poll()
        # On a grid, so that intervals do not drift; a late sample is not made up for.
        missed = int((now - plan.due) / plan.interval) if plan.due else 0
        plan.due = (plan.due or now) + plan.interval * (missed + 1)
        with self._lock:
            if sample:
                self._samples[plan.chip.name] = sample
            state = self._state(plan)
        fresh = ChipState(state.name, state.model, sample, state.health)
        for output in self._outputs:
            output.publish(fresh)

    def _state(self, plan: Plan) -> ChipState:
        health = plan.chip.health()
        sample = self._samples.get(plan.chip.name, Sample()) if health.healthy else Sample()
        return ChipState(plan.chip.name, plan.chip.driver.model, sample, health)
