"""Checks of a sensor's value."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from piimage.config.testing import Check
from piimage.testing.checks import make_check
from piimage.testing.sensors import CURRENT, sensor_fault

DOCUMENT = json.dumps(
    {
        "sensors": {
            "air": {"reason": ""},
            "door": {"reason": ""},
            "bed": {"reason": "no sht3x answers at 0x44 on i2c1"},
        },
        "measurements": [
            {"sensor": "air", "quantity": "temperature", "channel": "", "value": 21.5,
             "unit": "°C"},
            {"sensor": "air", "quantity": "humidity", "channel": "", "value": 0.45, "unit": "1"},
            {"sensor": "door", "quantity": "acceleration", "channel": "x", "value": 1.0,
             "unit": "m/s²"},
            {"sensor": "door", "quantity": "acceleration", "channel": "y", "value": 9.8,
             "unit": "m/s²"},
        ],
    }
)  # fmt: skip


def fault(sensor: str, low: float, high: float, document: str = DOCUMENT) -> str | None:
    return sensor_fault(Check(sensor=sensor, within=(low, high)), document)


@pytest.mark.parametrize(
    ("sensor", "low", "high"),
    [
        ("air.temperature", 21.5, 22),
        ("air.humidity", 0.4, 0.45),
        ("door.acceleration", 0, 10),
        ("door.acceleration.x", 0, 2),
    ],
)
def test_values_within_the_limits_pass(sensor: str, low: float, high: float) -> None:
    assert fault(sensor, low, high) is None


@pytest.mark.parametrize(
    ("sensor", "reason"),
    [
        ("air.temperature", "air.temperature is 21.5 °C; not within [2, 3]"),
        ("door.acceleration",
         "door.acceleration.x is 1 m/s², door.acceleration.y is 9.8 m/s²; not within [2, 3]"),
        ("air.pressure", "there is no air.pressure; air measures air.temperature, air.humidity"),
        ("door.acceleration.z", "there is no door.acceleration.z; door measures "
         "door.acceleration.x, door.acceleration.y"),
        ("bed.temperature", "bed has no value now: no sht3x answers at 0x44 on i2c1"),
        ("tank.temperature", "the Pi's service sensors has no sensor tank"),
    ],
)  # fmt: skip
def test_each_failure_says_what_is_there(sensor: str, reason: str) -> None:
    assert fault(sensor, 2, 3) == reason


@pytest.mark.parametrize("document", ["", "[]", "{}", '{"measurements": [{}], "sensors": {}}'])
def test_no_answer_names_the_address(document: str) -> None:
    assert fault("air.temperature", 2, 3, document) == (
        f"the service sensors does not answer at {CURRENT}"
    )


def test_a_check_asks_the_pi_itself() -> None:
    told = []

    class Shell:
        def run(self, argv: object, timeout: float) -> object:
            told.append(argv)
            return SimpleNamespace(text=DOCUMENT)

    check = Check(sensor="air.temperature", within=(21, 22))
    outcome = make_check(check, Shell(), list)  # type: ignore[arg-type]
    assert (outcome.name, outcome.failure) == ("air.temperature", None)
    assert told == [["wget", "-q", "-O", "-", CURRENT]]
