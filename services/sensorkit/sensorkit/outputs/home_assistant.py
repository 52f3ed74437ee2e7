"""Home Assistant's MQTT discovery: one device, one component a channel."""

from __future__ import annotations

from typing import Any

from sensorkit.measurement import Channel, Measurement
from sensorkit.station import Identity


def discovery(
    identity: Identity, node: str, base: str, channels: tuple[Channel, ...], expire_after: int
) -> dict[str, Any]:
    """The payload of ``homeassistant/device/<node>/config`` (device-based discovery).

    `base` is the topic under which availability and states are published; `expire_after` the
    seconds after which Home Assistant calls a value unavailable.
    """
    return {
        "dev": {
            "ids": [node],
            "name": identity.title,
            "mf": "piimage",
            "mdl": identity.title,
            "sw": identity.version,
        },
        "o": {"name": "piimage sensorkit", "sw": identity.version},
        "availability_topic": f"{base}/availability",
        "cmps": {c.key: _component(c, node, base, expire_after) for c in channels},
    }


def _component(channel: Channel, node: str, base: str, expire_after: int) -> dict[str, Any]:
    form = channel.quantity.home_assistant
    component = {
        "p": "sensor",
        "name": channel.title,
        "unique_id": f"{node}_{channel.key}",
        "state_topic": f"{base}/state/{channel.key}",
        "value_template": "{{ value_json.value }}",
        "unit_of_measurement": form.unit,
        "state_class": "measurement",
        "suggested_display_precision": min(form.digits, 2),
        "expire_after": expire_after,
    }
    if form.device_class:
        component["device_class"] = form.device_class
    return component


def state(m: Measurement) -> dict[str, Any]:
    """The payload of a state topic: value and unit as Home Assistant wants them, and the time."""
    form = m.channel.quantity.home_assistant
    value = round(m.value * form.factor, form.digits)
    return {"value": value, "unit": form.unit, "time": round(m.time, 3)}
