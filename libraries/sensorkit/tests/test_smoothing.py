"""The median and the mean of the last samples."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sensorkit.measurement import TEMPERATURE, VOLTAGE, Channel, Measurement, Sample
from sensorkit.smoothing import Smoothing

AIR = Channel(TEMPERATURE, "Air", (("sensor", "air"),))
OTHER = Channel(VOLTAGE, "Other", (("sensor", "other"),))
TOTAL = Channel(replace(VOLTAGE, total=True), "Total", (("sensor", "total"),))


def published(
    smoothing: Smoothing, *values: float, times: list[float] | None = None
) -> list[float]:
    """What is published of each value, one a second."""
    moments = times or [float(n) for n in range(len(values))]
    samples = (Sample([Measurement(AIR, v, t)]) for v, t in zip(values, moments, strict=True))
    return [m.value for sample in samples for m in smoothing(sample)]


def test_a_single_wrong_value_does_not_change_the_median() -> None:
    assert published(Smoothing("median", 3, 60), 20, 21, 90, 21, 22) == [20, 20.5, 21, 21, 22]


def test_the_mean_is_that_of_the_last_values_only() -> None:
    assert published(Smoothing("mean", 2, 60), 1, 3, 5, 5) == [1, 2, 4, 5]


@pytest.mark.parametrize("gap", [100, -100])
def test_values_from_before_a_gap_do_not_count(gap: float) -> None:
    assert published(Smoothing("mean", 3, 60), 1, 1, 9, times=[0, 1, 1 + gap]) == [1, 1, 9]


def test_channels_have_values_of_their_own_and_refusals_stay() -> None:
    smoothing = Smoothing("mean", 2, 60)
    smoothing(Sample([Measurement(AIR, 1, 0), Measurement(OTHER, 2, 0)]))
    found = smoothing(Sample([Measurement(AIR, 3, 1)], ["other: gone"]))
    assert [(m.channel, m.value, m.time) for m in found] == [(AIR, 2, 1)]
    assert found.refused == ("other: gone",)


def test_a_count_is_not_smoothed() -> None:
    smoothing = Smoothing("mean", 2, 60)
    values = [m.value for n in (1.0, 3.0) for m in smoothing(Sample([Measurement(TOTAL, n, n)]))]
    assert values == [1, 3]


def test_a_method_that_does_not_exist_is_refused() -> None:
    with pytest.raises(KeyError):
        Smoothing("best", 3, 60)
