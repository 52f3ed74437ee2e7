"""The interface between a bus and a chip."""

from __future__ import annotations

from typing import Protocol


class Nack(Exception):
    """No acknowledge: the chip is absent, busy, or refuses the byte."""


class Stretched(Exception):
    """The chip holds SCL low until the controller gives up."""


class I2cTarget(Protocol):
    """A chip on an I2C bus; one call for each message between two start conditions."""

    def i2c_write(self, data: bytes) -> None:
        """Accept a write message. Raises `Nack` if a byte is not acknowledged."""
        ...

    def i2c_read(self, length: int) -> bytes:
        """Return `length` bytes. Raises `Nack` if the address is not acknowledged."""
        ...


class SpiTarget(Protocol):
    """A chip on an SPI bus; one call for each transfer under its chip select.

    The optional attribute ``spi_max_hz`` is the fastest clock of the chip.
    """

    def spi_transfer(self, data: bytes, mode: int) -> bytes:
        """Accept `data` in SPI `mode` and return as many bytes."""
        ...


class PowerCycled(Protocol):
    """A chip whose power supply can be interrupted."""

    def power_cycle(self) -> None:
        """Lose all settings and start as after power-on."""
        ...


class Chip(I2cTarget, PowerCycled, Protocol):
    """A chip on an I2C bus whose power supply can be interrupted."""
