"""The light of an Enviro pHAT: two white LEDs on one GPIO, through gpiozero."""

from __future__ import annotations

import importlib
from typing import Protocol

from sensorkit.errors import BusError


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


def open_leds(pin: int) -> Leds:
    """The LEDs at a GPIO (Broadcom numbering), off.

    gpiozero chooses lgpio where that is installed. Raises `BusError` when the pin or the
    packages are not there.
    """
    try:
        gpiozero = importlib.import_module("gpiozero")
        leds: Leds = gpiozero.LED(pin, initial_value=False)
    except ImportError:
        raise BusError("the Python packages gpiozero and lgpio are not installed") from None
    except (OSError, gpiozero.GPIOZeroError) as error:
        raise BusError(f"GPIO{pin}: {error}") from error
    return leds
