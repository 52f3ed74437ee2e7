"""Faults on a bus, by chance and by hand: what goes wrong between a Pi and a chip on wires."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from chipmodels.target import I2cTarget, Nack, SpiTarget, Stretched


@dataclass(frozen=True)
class FaultRates:
    """Chances, each 0..1, that a message meets the fault."""

    nack: float = 0.0
    """The chip does not acknowledge."""
    reset: float = 0.0
    """The chip loses power for a moment just before the message."""
    garbage: float = 0.0
    """A read gives all ones, all zeros, or random bytes."""
    bit_flip: float = 0.0
    """One bit of a read is wrong."""
    hang: float = 0.0
    """The chip holds the clock low until the controller gives up (I2C only)."""


@dataclass
class FaultyChip:
    """A chip behind bad wires. Counts what it did under the fault's name.

    `unplugged` takes the chip away until it is set back.
    """

    chip: I2cTarget | SpiTarget
    rates: FaultRates
    random: random.Random
    unplugged: bool = False
    counts: Counter[str] = field(default_factory=Counter)

    def i2c_write(self, data: bytes) -> None:
        """Pass a write on, unless a fault comes first."""
        self._before()
        cast(I2cTarget, self.chip).i2c_write(data)

    def i2c_read(self, length: int) -> bytes:
        """Pass a read on, unless a fault comes first or spoils it."""
        self._before()
        return self._spoil(cast(I2cTarget, self.chip).i2c_read(length))

    def spi_transfer(self, data: bytes, mode: int) -> bytes:
        """Pass a transfer on; on SPI nobody acknowledges, so one that is away answers ones."""
        try:
            self._before()
        except (Nack, Stretched):
            return _ones(len(data))
        return self._spoil(cast(SpiTarget, self.chip).spi_transfer(data, mode))

    @property
    def spi_max_hz(self) -> int | None:
        """The chip's."""
        return getattr(self.chip, "spi_max_hz", None)

    def power_cycle(self) -> None:
        """Interrupt the chip's supply. A model without `power_cycle` keeps its settings."""
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

    def _spoil(self, data: bytes) -> bytes:
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
