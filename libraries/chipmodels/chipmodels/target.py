"""What a chip is to a bus: something that takes messages, or does not acknowledge."""

from __future__ import annotations

from typing import Protocol


class Nack(Exception):
    """Nobody acknowledged: the chip is absent, busy, or refuses the byte."""


class Stretched(Exception):
    """The chip holds SCL low until the controller gives up."""


class I2cTarget(Protocol):
    """A chip on an I2C bus; one call for each message between two start conditions."""

    def i2c_write(self, data: bytes) -> None:
        """Take a write message. Raises `Nack` when a byte is not acknowledged."""
        ...

    def i2c_read(self, length: int) -> bytes:
        """Give `length` bytes. Raises `Nack` when the address is not acknowledged."""
        ...


class SpiTarget(Protocol):
    """A chip on an SPI bus; one call for each time its chip select is held.

    An attribute ``spi_max_hz``, where there is one, is the fastest clock that it understands.
    """

    def spi_transfer(self, data: bytes, mode: int) -> bytes:
        """Take `data` in SPI `mode` and give as many bytes back."""
        ...


class PowerCycled(Protocol):
    """A chip whose supply can be interrupted."""

    def power_cycle(self) -> None:
        """Lose every setting and start as after power-on."""
        ...


class Chip(I2cTarget, PowerCycled, Protocol):
    """A chip on an I2C bus whose supply can be interrupted."""
