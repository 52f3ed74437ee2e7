"""Prometheus metrics that follow its naming conventions: base units, ``_total``, ``_info``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from sensorkit.station import ChipState, Identity

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
States = Callable[[], Mapping[str, ChipState]]


class StationCollector(Collector):
    """Makes the metrics from the states at each scrape, without old values."""

    def __init__(self, identity: Identity, states: States) -> None:
        self._identity = identity
        self._states = states

    def collect(self) -> Iterable[Metric]:
        """Yield the current metric families."""
        states = tuple(self._states().values())
        yield from self._values(states)
        yield from self._health(states)
        info = InfoMetricFamily(self._identity.name, f"About the {self._identity.title} service")
        info.add_metric([], {"version": self._identity.version})
        yield info

    def _values(self, states: Iterable[ChipState]) -> Iterable[Metric]:
        families: dict[str, Metric] = {}
        for m in (m for state in states for m in state.sample):
            quantity = m.channel.quantity
            name = f"{self._identity.name}_{quantity.metric}"
            title = quantity.name.replace("_", " ").capitalize()
            title += f" in {quantity.unit}" if quantity.unit else ""
            kind = CounterMetricFamily if quantity.total else GaugeMetricFamily
            family = families.setdefault(name, kind(name, title))
            # Not add_metric: chips of one service may have different labels.
            sample = f"{name}_total" if quantity.total else name
            family.add_sample(sample, dict(m.channel.labels), m.rounded)
        return families.values()

    def _health(self, states: Iterable[ChipState]) -> Iterable[Metric]:
        name = self._identity.name
        healthy = GaugeMetricFamily(
            f"{name}_sensor_healthy",
            "1 if the chip has given a valid sample recently",
            labels=["sensor"],
        )
        success = GaugeMetricFamily(
            f"{name}_last_success_timestamp_seconds",
            "Time of the last valid sample",
            labels=["sensor"],
        )
        samples = CounterMetricFamily(f"{name}_samples", "Valid samples", labels=["sensor"])
        starts = CounterMetricFamily(
            f"{name}_sensor_starts",
            "Number of times that the chip was initialised",
            labels=["sensor"],
        )
        errors = CounterMetricFamily(
            f"{name}_read_errors", "Failed attempts, by kind", labels=["sensor", "kind"]
        )
        about = InfoMetricFamily(f"{name}_sensor", "The chip of a sensor", labels=["sensor"])
        for state in states:
            health = state.health
            about.add_metric([state.name], {"model": state.model})
            healthy.add_metric([state.name], float(health.healthy))
            samples.add_metric([state.name], health.samples)
            starts.add_metric([state.name], health.starts)
            if health.last_success is not None:
                success.add_metric([state.name], health.last_success)
            for kind, count in sorted(health.errors.items()):
                errors.add_metric([state.name, kind], count)
        return [about, healthy, success, samples, starts, errors]


class Exposition:
    """The text of ``/metrics``."""

    def __init__(self, identity: Identity, states: States) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(StationCollector(identity, states))

    def text(self) -> bytes:
        """Return all metrics in the text format 0.0.4."""
        return bytes(generate_latest(self._registry))
