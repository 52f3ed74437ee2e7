"""An Enviro pHAT as a service: weather, light, motion, analogue inputs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sensorkit.chips import (
    Ads1015Options,
    BoschOptions,
    Buses,
    Lsm303dOptions,
    Naming,
    Tcs3472Options,
    bosch_plan,
    bus_option,
    plan,
)
from sensorkit.clock import Clock
from sensorkit.drivers.leds import Leds, open_leds
from sensorkit.errors import BusError
from sensorkit.options import Option, Values, choice
from sensorkit.service import OutputOptions, Service
from sensorkit.station import Identity, Plan

VERSION = "0.1.0"
_PREFIX = "ENVIROPHAT_"
_CHIPS = ("bmp280", "tcs3472", "lsm303d", "ads1015")
LED_PIN = 4
"""The GPIO of the LEDs, in Broadcom numbering."""


def _chip_list(text: str) -> tuple[str, ...]:
    chosen = tuple(part.strip() for part in text.split(","))
    unknown = [name for name in chosen if name not in _CHIPS]
    if unknown:
        raise ValueError(f"is not a list of {', '.join(_CHIPS)}")
    return chosen


@dataclass(frozen=True)
class BoardOptions:
    """Options of the board, and of each chip below its name."""

    sensors: Option[tuple[str, ...]]
    leds: Option[bool]
    bmp280: BoschOptions
    tcs3472: Tcs3472Options
    lsm303d: Lsm303dOptions
    ads1015: Ads1015Options

    def all(self) -> tuple[Option[Any], ...]:
        """Return all options of the board."""
        chips = (self.bmp280, self.tcs3472, self.lsm303d, self.ads1015)
        return (self.sensors, self.leds, *(option for chip in chips for option in chip.all()))


def board_options() -> BoardOptions:
    """Return the options, with the addresses of the board."""

    def naming(chip: str) -> Naming:
        return Naming(chip, f"{_PREFIX}{chip.upper()}_")

    bus = bus_option(Naming("", _PREFIX))
    return BoardOptions(
        Option("sensors", f"{_PREFIX}SENSORS", _chip_list, _CHIPS, "chips to use"),
        Option(
            *("leds", f"{_PREFIX}LEDS", choice({"on": True, "off": False}), False),
            help="white LEDs beside the light sensor: on or off",
        ),
        BoschOptions(naming("bmp280"), bus),
        Tcs3472Options(naming("tcs3472")),
        Lsm303dOptions(naming("lsm303d")),
        Ads1015Options(naming("ads1015")),
    )


class Board:
    """The chips of the board on one bus, and its LEDs, which stay on while it exists."""

    def __init__(self, options: BoardOptions, buses: Buses, light: Callable[[int], Leds]) -> None:
        self._options = options
        self._buses = buses
        self._open_light = light
        self._light: Leds | None = None

    def plans(self, values: Values, clock: Clock) -> Sequence[Plan]:
        """Return the plans of the selected chips, and switch the LEDs on if they are set."""
        if values[self._options.leds]:
            self._switch_on()
        return [self._plan(name, values, clock) for name in values[self._options.sensors]]

    def _switch_on(self) -> None:
        try:
            self._light = self._open_light(LED_PIN)
            self._light.on()
        except BusError as error:
            sys.stderr.write(f"leds: {error}\n")  # the chips measure without the LEDs as well

    def _plan(self, name: str, values: Values, clock: Clock) -> Plan:
        o = self._options
        line = self._buses.i2c(values[o.bmp280.bus])
        if name == "tcs3472":
            light = o.tcs3472.driver(values, line, clock)
            return plan(name, light, values[o.tcs3472.interval], clock)
        if name == "lsm303d":
            motion = o.lsm303d.driver(values, line, clock)
            return plan(name, motion, values[o.lsm303d.interval], clock)
        if name == "ads1015":
            analogue = o.ads1015.driver(values, line, clock)
            return plan(name, analogue, values[o.ads1015.interval], clock)
        return bosch_plan(name, o.bmp280, values, self._buses, clock)


def service(buses: Buses, light: Callable[[int], Leds] = open_leds) -> Service:
    """Return the service on these buses; `light` opens the LEDs at a GPIO."""
    options = board_options()
    return Service(
        Identity("envirophat", "Enviro pHAT", VERSION),
        _PREFIX,
        OutputOptions(_PREFIX, 9281),
        options.all(),
        options.bmp280.problems,
        Board(options, buses, light).plans,
    )
