"""The light of an Enviro pHAT: two white LEDs on one GPIO.

They are driven by gpiozero if that is installed. Otherwise (its pin libraries are late for new
versions of Python) libgpiod uses the kernel's GPIO character device.
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
        """Switch on."""
        ...

    def off(self) -> None:
        """Switch off."""
        ...

    def close(self) -> None:
        """Release the pin."""
        ...


def open_leds(pin: int, dev: Path = Path("/dev")) -> Leds:
    """Return the LEDs at a GPIO (Broadcom numbering), switched off.

    Raises `BusError` if neither gpiozero nor libgpiod is installed, or if there is no such pin.
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
    """Return the chip of the header's pins; its number depends on board and kernel."""
    for path in paths:
        with gpiod.Chip(str(path)) as chip:
            if chip.get_info().label in _HEADER_CHIPS:
                return str(path)
    raise BusError("no GPIO chip of a Raspberry Pi found; the service needs /dev/gpiochip0")


class _LibgpiodLeds:
    """One output line of libgpiod 2."""

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
