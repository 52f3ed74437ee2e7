"""The checks of values that the service `sensors` publishes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from piimage.config.testing import Check

CURRENT: Final = "http://127.0.0.1:9284/api/current"
"""Where the ready-made container `sensors` has its values (services/sensors)."""


def sensor_fault(check: Check, document: str) -> str | None:
    """Return the reason why the values in `document` are not what `check` expects, or None."""
    assert check.sensor is not None  # noqa: S101  # the caller knows
    assert check.within is not None  # noqa: S101  # the model requires it
    try:
        current = json.loads(document)
        return _fault(check.sensor, check.within, current)
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"the service sensors does not answer at {CURRENT}"


def _fault(wanted: str, within: tuple[float, float], current: Mapping[str, Any]) -> str | None:
    name, quantity, *channel = wanted.split(".")
    own = [m for m in current["measurements"] if m["sensor"] == name]
    found = [
        m for m in own if m["quantity"] == quantity and (not channel or m["channel"] in channel)
    ]
    if not found:
        return _absent(name, wanted, own, current)
    low, high = within
    wrong = [f"{_path(m)} is {m['value']:g} {m['unit']}".rstrip() for m in found
             if not low <= m["value"] <= high]  # fmt: skip
    return f"{', '.join(wrong)}; not within [{low:g}, {high:g}]" if wrong else None


def _absent(
    name: str, wanted: str, own: list[Mapping[str, Any]], current: Mapping[str, Any]
) -> str:
    """Return why there is no value: the sensor's own reason, or what it measures instead."""
    state = current["sensors"].get(name)
    if state is None:
        return f"the Pi's service sensors has no sensor {name}"
    if not own:
        return f"{name} has no value now: {state['reason'] or 'not sampled yet'}"
    return f"there is no {wanted}; {name} measures {', '.join(map(_path, own))}"


def _path(m: Mapping[str, Any]) -> str:
    return ".".join(filter(None, (m["sensor"], m["quantity"], m["channel"])))
