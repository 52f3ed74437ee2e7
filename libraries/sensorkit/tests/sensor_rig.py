"""A Pi's I2C bus and SPI controller with chip models, in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from chipmodels.adapter import I2cAdapter, SpiController
from chipmodels.clock import VirtualClock
from chipmodels.inprocess import ModelSMBus, ModelSpiDev
from chipmodels.target import I2cTarget, SpiTarget
from sensorkit.bus.registers import (
    I2cBus,
    Line,
    RdwrRegisters,
    SmbusRegisters,
    SpiDevice,
    SpiRegisters,
)
from sensorkit.measurement import Sample

EXAMPLE_CALIBRATION = bytes.fromhex("706b436718fc7d8e43d6d00b270b8c00f9ff8c3cf8c67017")
EXAMPLE_DATA = bytes.fromhex("655ac07eed00")


class _Startable(Protocol):
    def start(self) -> None: ...


D = TypeVar("D", bound=_Startable)


@dataclass
class Rig:
    clock: VirtualClock = field(default_factory=VirtualClock)
    chips: dict[int, I2cTarget] = field(default_factory=dict)
    selects: dict[int, SpiTarget] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.adapter = I2cAdapter(self.chips)
        self.controller = SpiController(self.selects)
        self.line: Line[I2cBus] = Line("i2c1", lambda: ModelSMBus(self.adapter))
        self.spi_line: Line[SpiDevice] = Line("spi0.0", lambda: ModelSpiDev(self.controller, 0))

    def smbus(self, address: int) -> SmbusRegisters:
        return SmbusRegisters(self.line, address)

    def rdwr(self, address: int) -> RdwrRegisters:
        return RdwrRegisters(self.line, address)

    def spi(self) -> SpiRegisters:
        return SpiRegisters(self.spi_line)

    def started(self, driver: D) -> D:
        """Start a driver; the log begins after its start."""
        driver.start()
        self.adapter.log.clear()
        return driver


def by_key(sample: Sample) -> dict[str, float]:
    return {m.channel.key: m.value for m in sample}


class Scripted:
    """Registers whose reads all return the result of `answer`."""

    def __init__(self, answer: Callable[[int, int], bytes]) -> None:
        self._answer = answer

    def read(self, register: int, length: int) -> bytes:
        return self._answer(register, length)

    def write(self, register: int, *values: int) -> None:
        pass
