"""Home Assistant's rules for MQTT discovery, as a schema: what its documentation says of a device.

Sources: Home Assistant's documentation of the integrations MQTT ("Device discovery payload",
"Discovery topic", "Supported abbreviations in MQTT discovery messages"), MQTT Sensor
("Configuration variables") and Sensor ("Device class"); and of its developers' documentation the
state classes of a sensor. It leaves out an entity whose unit does not belong to its device class.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

# Of each device class that we use: some of its units, and its state classes. None: no unit at all.
CLASSES: Final[Mapping[str, tuple[tuple[str, ...] | None, tuple[str, ...]]]] = {
    "atmospheric_pressure": (("Pa", "hPa", "mbar", "inHg", "psi"), ("measurement",)),
    "current": (("A", "mA"), ("measurement",)),
    "distance": (("m", "km", "cm", "mm"), ("measurement", "total", "total_increasing")),
    "energy": (("J", "kJ", "Wh", "kWh"), ("total", "total_increasing")),
    "humidity": (("%",), ("measurement",)),
    "illuminance": (("lx",), ("measurement",)),
    "ph": (None, ("measurement",)),
    "power": (("W", "kW", "mW"), ("measurement",)),
    "speed": (("m/s", "km/h"), ("measurement",)),
    "temperature": (("°C", "°F", "K"), ("measurement",)),
    "voltage": (("V", "mV", "µV"), ("measurement",)),
}
_TOPIC: Final = re.compile(r"homeassistant/device/[a-zA-Z0-9_-]+/config")
_TEXT: Final = {"type": "string", "minLength": 1}
_AVAILABILITY: Final = {
    "availability_topic": _TEXT,
    "payload_available": _TEXT,
    "payload_not_available": _TEXT,
}


def _of_class(name: str) -> dict[str, Any]:
    """Return what a component of a device class must have."""
    units, states = CLASSES[name]
    must: dict[str, Any] = {"properties": {"state_class": {"enum": list(states)}}}
    if units is None:
        must["not"] = {"required": ["unit_of_measurement"]}
    else:
        must["properties"]["unit_of_measurement"] = {"enum": list(units)}
        must["required"] = ["unit_of_measurement"]
    condition = {"properties": {"device_class": {"const": name}}, "required": ["device_class"]}
    return {"if": condition, "then": must}


_SENSOR: Final = {
    "type": "object",
    "required": ["p", "unique_id", "state_topic"],
    "additionalProperties": False,
    "properties": {
        "p": {"const": "sensor"},
        "name": _TEXT,
        "unique_id": _TEXT,
        "state_topic": {"type": "string", "pattern": "^[^#+\\x00]+$"},
        "value_template": _TEXT,
        "unit_of_measurement": _TEXT,
        "device_class": {"enum": sorted(CLASSES)},
        "state_class": {"enum": ["measurement", "total", "total_increasing"]},
        "suggested_display_precision": {"type": "integer", "minimum": 0},
        "expire_after": {"type": "integer", "minimum": 0},
    },
    "allOf": [_of_class(name) for name in CLASSES],
}
SCHEMA: Final = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["dev", "o", "cmps"],
    "additionalProperties": False,
    "properties": {
        "dev": {
            "type": "object",
            "required": ["ids"],
            "additionalProperties": False,
            "properties": {
                "ids": {"type": "array", "items": _TEXT, "minItems": 1},
                **dict.fromkeys(("name", "mf", "mdl", "sw", "hw", "sn", "cu"), _TEXT),
            },
        },
        "o": {
            "type": "object",
            "required": ["name"],
            "additionalProperties": False,
            "properties": dict.fromkeys(("name", "sw", "url"), _TEXT),
        },
        "cmps": {"type": "object", "minProperties": 1, "additionalProperties": _SENSOR},
        **_AVAILABILITY,
    },
}
"""A message of device discovery whose components are sensors."""


@cache
def _validator() -> Validator:
    import jsonschema  # takes more than a second

    return jsonschema.Draft202012Validator(SCHEMA)


def faults(topic: str, message: object) -> Iterator[str]:
    """Give what Home Assistant would not take of a message of discovery."""
    if not _TOPIC.fullmatch(topic):
        yield f"the topic {topic} names no device"
    for error in _validator().iter_errors(message):
        yield f"{'/'.join(map(str, error.path))}: {error.message}"
    components = message.get("cmps", {}) if isinstance(message, dict) else {}
    identities = [component.get("unique_id") for component in components.values()]
    yield from (f"two entities are {name}" for name in {*identities} if identities.count(name) > 1)
