"""A BMP280 or BME280 as a service: temperature, pressure, humidity."""

from __future__ import annotations

from collections.abc import Sequence

from sensorkit.chips import BoschOptions, Buses, Naming, bosch_plan
from sensorkit.clock import Clock
from sensorkit.options import Values
from sensorkit.service import OutputOptions, Service
from sensorkit.station import Identity, Plan

VERSION = "0.1.0"
_PREFIX = "BMP280_"


def service(buses: Buses) -> Service:
    """Return the service on these buses."""
    chip = BoschOptions(Naming("", _PREFIX))

    def plans(values: Values, clock: Clock) -> Sequence[Plan]:
        return [bosch_plan("bmp280", chip, values, buses, clock)]

    return Service(
        Identity("bmp280", "BMP280", VERSION),
        _PREFIX,
        OutputOptions(_PREFIX, 9280),
        chip.all(),
        chip.problems,
        plans,
    )
