"""The light of an Enviro pHAT: two white LEDs on one GPIO.

Through gpiozero where that is installed; where it is not (its pin libraries lag behind new
versions of Python), through the kernel's GPIO character device with libgpiod.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from sensorkit.errors import BusError

_HEADER_CHIPS = ("pinctrl-bcm2835", "pinctrl-bcm2711", "pinctrl-rp1")


class Leds(Protocol):
    """A light that is on or off."""

    def on(self) -> None:
        """Light."""
        ...

    def off(self) -> None:
        """No light."""
        ...

    def close(self) -> None:
        """Release the pin."""
        ...


def open_leds(pin: int, dev: Path = Path("/dev")) -> Leds:
    """The LEDs at a GPIO (Broadcom numbering), off.

    Raises `BusError` when neither gpiozero nor libgpiod is installed, or the pin is not there.
    """
    try:
        gpiozero = importlib.import_module("gpiozero")
    except ImportError:
        return _open_character_device(pin, dev)
    try:
        leds: Leds = gpiozero.LED(pin, initial_value=False)
    except (OSError, gpiozero.GPIOZeroError) as error:
        raise BusError(f"GPIO{pin}: {error}") from error
    return leds


def _open_character_device(pin: int, dev: Path) -> Leds:
    try:
        gpiod = importlib.import_module("gpiod")
    except ImportError:
        raise BusError("neither the Python package gpiozero nor gpiod is installed") from None
    try:
        path = _header_chip(gpiod, sorted(dev.glob("gpiochip*")))
        return _LibgpiodLeds(gpiod, path, pin)
    except OSError as error:
        raise BusError(f"GPIO{pin}: {error}") from error


def _header_chip(gpiod: Any, paths: Iterable[Path]) -> str:  # noqa: ANN401 -- untyped module
    """The chip whose lines are the header's: its number differs between boards and kernels."""
    for path in paths:
        with gpiod.Chip(str(path)) as chip:
            if chip.get_info().label in _HEADER_CHIPS:
                return str(path)
    raise BusError("no GPIO chip of a Raspberry Pi is here; the service needs /dev/gpiochip0")


class _LibgpiodLeds:
    """One output line, by libgpiod 2."""

    def __init__(self, gpiod: Any, path: str, pin: int) -> None:  # noqa: ANN401 -- untyped module
        value = gpiod.line.Value
        self._pin, self._active, self._inactive = pin, value.ACTIVE, value.INACTIVE
        settings = gpiod.LineSettings(
            direction=gpiod.line.Direction.OUTPUT, output_value=self._inactive
        )
        self._lines = gpiod.request_lines(path, consumer="leds", config={pin: settings})

    def on(self) -> None:
        self._lines.set_value(self._pin, self._active)

    def off(self) -> None:
        self._lines.set_value(self._pin, self._inactive)

    def close(self) -> None:
        self._lines.release()
