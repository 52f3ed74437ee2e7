"""A test of each chip, step by step, in words for whoever is wiring it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from sensorkit.errors import SensorError
from sensorkit.measurement import Sample, find
from sensorkit.station import Plan

_SAMPLES = 3


def selftest(plans: Sequence[Plan], out: TextIO) -> bool:
    """Start and sample each chip and write ``ok``, ``none`` or ``FAIL``.

    Return whether nothing failed.
    """
    results = [_check_chip(plan, out) for plan in plans]
    return all(results)


def _check_chip(plan: Plan, out: TextIO) -> bool:
    driver, name = plan.chip.driver, plan.chip.name
    try:
        driver.start()
        out.write(f"ok    {name}: {driver.model} answers and is set up\n")
        samples = [driver.sample() for _ in range(_SAMPLES)]
    except SensorError as error:
        out.write(f"FAIL  {name}: {error}\n")
        return False
    return all([_is_steady(name, samples, out), _has_values(plan, samples[-1], out)])


def _is_steady(name: str, samples: Sequence[Sample], out: TextIO) -> bool:
    first, last = samples[0], samples[-1]
    for m in last:
        other = next((o for o in first if o.channel == m.channel), m)
        limit = m.channel.jump
        if limit is not None and abs(m.value - other.value) > limit:
            out.write(f"FAIL  {name}: {m.channel.key} jumps between samples; check the wiring\n")
            return False
    return True


def _has_values(plan: Plan, sample: Sample, out: TextIO) -> bool:
    for m in sample:
        out.write(
            f"ok    {plan.chip.name}: {m.channel.key} {m.rounded} {m.channel.quantity.unit}\n"
        )
    for channel in plan.chip.driver.channels:
        if find(sample, channel) is None:
            out.write(f"none  {plan.chip.name}: {channel.key} has no valid value now\n")
    return bool(sample)
