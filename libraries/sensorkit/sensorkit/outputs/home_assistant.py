"""Home Assistant's MQTT discovery: one device with one component for each channel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sensorkit.measurement import Channel, Sample
from sensorkit.station import Identity

ChannelsByChip = Mapping[str, tuple[Channel, ...]]
ON, OFF = "ON", "OFF"
"""The payloads of commands."""


def discovery(
    identity: Identity, node: str, base: str, chips: ChannelsByChip, expire_after: int
) -> dict[str, Any]:
    """Return the payload of ``homeassistant/device/<node>/config`` (device-based discovery).

    Availability and states are published below the topic `base`. Home Assistant shows a value as
    unavailable after `expire_after` seconds without a new one.
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
        "cmps": {
            channel.key: _component(channel, node, f"{base}/{chip}", expire_after)
            for chip, channels in chips.items()
            for channel in channels
        },
    }


def _component(channel: Channel, node: str, topic: str, expire_after: int) -> dict[str, Any]:
    form = channel.quantity.home_assistant
    if form.component != "sensor":
        return _binary(channel, node, topic, expire_after)
    component: dict[str, Any] = {
        "p": "sensor",
        "name": channel.title,
        "unique_id": f"{node}_{channel.key}",
        "state_topic": topic,
        # A channel without a valid value is absent; Home Assistant takes "None" for unknown.
        "value_template": f"{{{{ value_json.{channel.key} | default('None') }}}}",
        "state_class": "total_increasing" if channel.quantity.total else "measurement",
        "suggested_display_precision": min(form.digits, 2),
        "expire_after": expire_after,
    }
    if form.unit:
        component["unit_of_measurement"] = form.unit
    if form.device_class:
        component["device_class"] = form.device_class
    return component


def _binary(channel: Channel, node: str, topic: str, expire_after: int) -> dict[str, Any]:
    """Return the component of what is 0 or 1; a switch listens to the topic of its commands."""
    kind = channel.quantity.home_assistant.component
    component: dict[str, Any] = {
        "p": kind,
        "name": channel.title,
        "unique_id": f"{node}_{channel.key}",
        "state_topic": topic,
        "value_template": f"{{{{ 'ON' if value_json.{channel.key} | default(0) else 'OFF' }}}}",
        "payload_on": ON,
        "payload_off": OFF,
    }
    if kind == "switch":
        return component | {"command_topic": command_topic(topic)}
    return component | {"expire_after": expire_after}


def command_topic(state_topic: str) -> str:
    """Return the topic of commands for an output with this topic of its state."""
    return f"{state_topic}/set"


def state(sample: Sample) -> dict[str, float]:
    """Return the payload of a chip's state topic: time and values in Home Assistant's units."""
    values = {m.channel.key: _value(m.channel, m.value) for m in sample}
    return {"time": round(sample[0].time, 3)} | values


def _value(channel: Channel, value: float) -> float:
    form = channel.quantity.home_assistant
    return round(value * form.factor, form.digits)
