"""Samples several chips, each at its own interval, and passes the samples to the outputs."""

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


@dataclass
class Plan:
    """A chip, its interval in seconds, and the channels that it publishes."""

    chip: Supervised
    interval: float
    channels: tuple[Channel, ...]
    due: float = field(default=0.0)


class Station:
    """The chips of one service. One thread calls `step` or `run`; any may call `states`."""

    def __init__(self, plans: Sequence[Plan], outputs: Sequence[Output], clock: Clock) -> None:
        self._plans = tuple(plans)
        self._outputs = tuple(outputs)
        self._clock = clock
        self._lock = threading.Lock()
        self._samples: dict[str, Sample] = {}

    @property
    def channels(self) -> tuple[Channel, ...]:
        """All channels that may be published."""
        return tuple(channel for plan in self._plans for channel in plan.channels)

    def states(self) -> Mapping[str, ChipState]:
        """Return the current state of each chip, by its name."""
        with self._lock:
            return {plan.chip.name: self._state(plan) for plan in self._plans}

    def healthy(self) -> bool:
        """Return whether every chip has a recent, plausible sample."""
        return all(state.health.healthy for state in self.states().values())

    def step(self) -> float:
        """Sample the chips that are due, and return the seconds until the next one is."""
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
        # The grid is fixed, so that intervals do not drift. Missed samples are skipped.
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
