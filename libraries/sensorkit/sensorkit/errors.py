"""What can go wrong between a chip and a measurement.

Every error has a `kind`: a short fixed word, used as a label where errors are counted.
"""

from __future__ import annotations


class SensorError(Exception):
    """A sample could not be taken; the supervisor decides what to do about it."""

    kind = "sensor"


class BusError(SensorError):
    """The transfer failed: nobody acknowledged, or the bus or its device node is gone."""

    kind = "bus"


class WrongChip(SensorError):
    """The chip at this address says that it is another one."""

    kind = "identity"


class BadCalibration(SensorError):
    """The chip's calibration data cannot be right, or two reads of it differ."""

    kind = "calibration"


class LostSettings(SensorError):
    """The chip does not hold the settings it was given: it has reset itself, or the bus lies."""

    kind = "settings"


class NotReady(SensorError):
    """The conversion is not finished although its maximum time has passed."""

    kind = "not_ready"


class InvalidReading(SensorError):
    """The chip gave a number that is no measurement: skipped, saturated or out of range."""

    kind = "invalid"


class Unconfirmed(SensorError):
    """The value jumped, and a second sample taken at once did not agree with it."""

    kind = "unconfirmed"


class ConfigErrors(Exception):
    """Everything that is wrong with a configuration. `errors` are complete sentences."""

    def __init__(self, errors: list[str]) -> None:
        self.errors = tuple(errors)
        super().__init__("\n".join(errors))
