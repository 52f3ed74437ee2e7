"""Faults between a Pi and a wired chip, by chance and on request."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from chipmodels.target import I2cTarget, Nack, SpiTarget, Stretched


@dataclass(frozen=True)
class FaultRates:
    """The probability of each fault for a message, 0..1."""

    nack: float = 0.0
    """The chip does not acknowledge."""
    reset: float = 0.0
    """The chip loses power for a moment before the message."""
    garbage: float = 0.0
    """A read returns all ones, all zeros, or random bytes."""
    bit_flip: float = 0.0
    """One bit of a read is wrong."""
    hang: float = 0.0
    """The chip holds the clock low until the controller gives up (I2C only)."""


@dataclass
class FaultyChip:
    """A chip with bad wires. `counts` has the number of faults, by their names.

    While `unplugged` is true, the chip does not answer.
    """

    chip: I2cTarget | SpiTarget
    rates: FaultRates
    random: random.Random
    unplugged: bool = False
    counts: Counter[str] = field(default_factory=Counter)

    def i2c_write(self, data: bytes) -> None:
        """Write to the chip, unless a fault occurs."""
        self._before()
        cast(I2cTarget, self.chip).i2c_write(data)

    def i2c_read(self, length: int) -> bytes:
        """Read from the chip; a fault may prevent or corrupt it."""
        self._before()
        return self._corrupted(cast(I2cTarget, self.chip).i2c_read(length))

    def spi_transfer(self, data: bytes, mode: int) -> bytes:
        """Transfer; without a chip the response is all ones, because SPI has no acknowledge."""
        try:
            self._before()
        except (Nack, Stretched):
            return _ones(len(data))
        return self._corrupted(cast(SpiTarget, self.chip).spi_transfer(data, mode))

    @property
    def spi_max_hz(self) -> int | None:
        """The fastest clock of the chip, or None."""
        return getattr(self.chip, "spi_max_hz", None)

    def power_cycle(self) -> None:
        """Interrupt the power supply. A model without `power_cycle` keeps its settings."""
        cycle = getattr(self.chip, "power_cycle", None)
        if cycle is not None:
            cycle()

    def _before(self) -> None:
        if self.unplugged:
            raise Nack
        if self._happens("reset", self.rates.reset):
            self.power_cycle()
        if self._happens("hang", self.rates.hang):
            raise Stretched
        if self._happens("nack", self.rates.nack):
            raise Nack

    def _corrupted(self, data: bytes) -> bytes:
        if self._happens("garbage", self.rates.garbage):
            makers: list[Callable[[int], bytes]] = [_ones, bytes, self.random.randbytes]
            maker = self.random.choice(makers)
            return maker(len(data))
        if data and self._happens("bit_flip", self.rates.bit_flip):
            bit = self.random.randrange(8 * len(data))
            return (int.from_bytes(data, "big") ^ 1 << bit).to_bytes(len(data), "big")
        return data

    def _happens(self, name: str, chance: float) -> bool:
        if not chance or self.random.random() >= chance:
            return False
        self.counts[name] += 1
        return True


def _ones(length: int) -> bytes:
    return b"\xff" * length
