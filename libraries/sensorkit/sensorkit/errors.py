"""Errors between a chip and a measurement.

Every error has a `kind`: a short fixed word, which is the label of its counter.
"""

from __future__ import annotations


class SensorError(Exception):
    """A sample could not be taken. The supervisor decides how to proceed."""

    kind = "sensor"


class BusError(SensorError):
    """The transfer failed: no chip acknowledged, or the bus or its device node is gone."""

    kind = "bus"


class WrongChip(SensorError):
    """The chip at this address identifies itself as another one."""

    kind = "identity"


class BadCalibration(SensorError):
    """The chip's calibration data is implausible, or two reads of it differ."""

    kind = "calibration"


class LostSettings(SensorError):
    """The chip has other settings than were written: it was reset, or the bus is faulty."""

    kind = "settings"


class NotReady(SensorError):
    """The conversion is not finished although its maximum time has passed."""

    kind = "not_ready"


class InvalidReading(SensorError):
    """The chip's value is no measurement: skipped, saturated or out of range."""

    kind = "invalid"


class Unconfirmed(SensorError):
    """The value jumped, and a second sample taken at once did not confirm it."""

    kind = "unconfirmed"


class ConfigErrors(Exception):
    """All errors of a configuration. `errors` are complete messages."""

    def __init__(self, errors: list[str]) -> None:
        self.errors = tuple(errors)
        super().__init__("\n".join(errors))
