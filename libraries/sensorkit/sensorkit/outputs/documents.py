"""The documents of the web server as plain data: current values, health, history."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sensorkit.clock import Clock
from sensorkit.outputs.history import History
from sensorkit.station import ChipState, Enough, Identity, Station


@dataclass(frozen=True)
class Documents:
    """The documents of one station."""

    identity: Identity
    station: Station
    history: History
    clock: Clock
    enough: Enough = all

    def current(self) -> dict[str, Any]:
        """Return the last valid values, and the health of each chip."""
        states = self.station.states()
        return {
            "service": self.identity.name,
            "title": self.identity.title,
            "version": self.identity.version,
            "time": round(self.clock.time(), 3),
            "healthy": all(s.health.healthy for s in states.values()),
            "measurements": [m for s in states.values() for m in _measurements(s)],
            "sensors": {s.name: _health(s) for s in states.values()},
        }

    def health(self) -> tuple[bool, dict[str, Any]]:
        """Return whether `enough` chips are healthy, and the health of each."""
        states = self.station.states()
        healthy = self.enough(s.health.healthy for s in states.values())
        return healthy, {
            "healthy": healthy,
            "sensors": {s.name: _health(s) for s in states.values()},
        }

    def plots(self) -> dict[str, Any]:
        """Return the last hours of each channel as [time, mean] pairs."""
        now = self.clock.time()
        return {
            "time": round(now, 3),
            "slot_seconds": self.history.slot_seconds,
            "series": [
                {
                    "key": c.metric_key,
                    "title": c.title,
                    "unit": c.quantity.unit,
                    "points": [
                        [t, round(v, c.quantity.digits)] for t, v in self.history.points(c, now)
                    ],
                }
                for c in self.station.channels
            ],
        }


def _measurements(state: ChipState) -> Iterable[Mapping[str, Any]]:
    for m in state.sample:
        yield {
            "key": m.channel.metric_key,
            "title": m.channel.title,
            "value": m.rounded,
            "unit": m.channel.quantity.unit,
            "digits": m.channel.quantity.digits,
            "sensor": state.name,
            "quantity": m.channel.quantity.name,
            "channel": m.channel.part,
            "time": round(m.time, 3),
        }


def _health(state: ChipState) -> dict[str, Any]:
    h = state.health
    return {
        "model": state.model,
        "healthy": h.healthy,
        "reason": h.reason,
        "refused": list(h.refused),
        "age_seconds": None if h.age is None else round(h.age, 3),
        "samples": h.samples,
        "starts": h.starts,
        "errors": dict(sorted(h.errors.items())),
    }
