"""What services tell Home Assistant is what it takes, for every quantity that they know."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from sensorkit import measurement
from sensorkit.kernel import quantities
from sensorkit.measurement import Channel, Measurement, Quantity, Sample
from sensorkit.outputs.home_assistant import discovery, state
from sensorkit.station import Identity

from tests.home_assistant import CLASSES, faults

TOPIC = "homeassistant/device/shed-sensors/config"
KNOWN = {
    *(value for value in vars(measurement).values() if isinstance(value, Quantity)),
    *(u.quantity for table in (quantities.IIO, quantities.HWMON) for u in table.values()),
    quantities.SCALED_PROXIMITY.quantity,
}


def message(*known: Quantity) -> Any:
    channels = tuple(
        Channel(quantity, "Any", (("sensor", f"s{number}"),))
        for number, quantity in enumerate(known)
    )
    return discovery(Identity("sensors", "Sensors", "1"), "shed", "b", {"chip": channels}, 60)


@pytest.mark.parametrize("quantity", sorted(KNOWN, key=str), ids=lambda q: q.name)
def test_home_assistant_takes_each_quantity(quantity: Quantity) -> None:
    assert [*faults(TOPIC, message(quantity))] == []


def test_home_assistant_takes_a_device_with_all_of_them() -> None:
    assert [*faults(TOPIC, message(*KNOWN))] == []


def test_the_state_has_a_value_for_each_template() -> None:
    channels = [Channel(quantity, "Any", (("sensor", "a"),)) for quantity in KNOWN]
    values = state(Sample(Measurement(c, 0.5 if c.quantity.high < 2 else max(c.quantity.low, 1), 5)
                          for c in channels))  # fmt: skip
    assert values.keys() == {"time", *(channel.key for channel in channels)}


def test_each_device_class_of_the_rules_is_used() -> None:
    """So that no rule is there without a test."""
    used = {quantity.home_assistant.device_class for quantity in KNOWN} - {None}
    assert used == {*CLASSES}


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("unit_of_measurement", "Pa", "'Pa' is not one of"),
        ("state_class", "total", "'total' is not one of"),
        ("device_class", "warmth", "'warmth' is not one of"),
        ("unique_id", "", "'' should be non-empty"),
        ("p", "thermometer", "'sensor' was expected"),
        ("state_topic", "shed/#", "does not match"),
        ("icon_", "mdi:x", "Additional properties"),
    ],
)
def test_a_message_that_home_assistant_does_not_take_is_noticed(
    key: str, value: str, told: str
) -> None:
    wrong = copy.deepcopy(message(measurement.TEMPERATURE))
    wrong["cmps"]["temperature_s0"][key] = value
    (fault,) = faults(TOPIC, wrong)
    assert told in fault


def test_a_topic_of_no_device_and_two_entities_of_one_name_are_noticed() -> None:
    wrong = copy.deepcopy(message(measurement.TEMPERATURE, measurement.HUMIDITY))
    for component in wrong["cmps"].values():
        component["unique_id"] = "same"
    assert [*faults("homeassistant/sensor/my shed/config", wrong)] == [
        "the topic homeassistant/sensor/my shed/config names no device",
        "two entities are same",
    ]
