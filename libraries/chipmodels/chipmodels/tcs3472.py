"""TCS3472 colour sensor (ams DN00004, TCS3472 data sheet v1-10)."""

from __future__ import annotations

from dataclasses import dataclass

from chipmodels.clock import TimeSource
from chipmodels.target import Nack

_GAINS = (1, 4, 16, 60)
_CYCLE_SECONDS = 0.0024


@dataclass
class Light:
    """Counts per millisecond at gain 1 of the clear, red, green and blue photodiodes."""

    clear: float = 2.0
    red: float = 0.8
    green: float = 0.7
    blue: float = 0.5


class Tcs3472Model:
    """A TCS34725 (id 0x44) or TCS34727 (0x4D)."""

    def __init__(
        self, time: TimeSource, *, light: Light | None = None, identity: int = 0x44
    ) -> None:
        self.light = light or Light()
        self.identity = identity
        self._time = time
        self.power_cycle()

    def power_cycle(self) -> None:
        """Reset the registers as after power-on (table 3)."""
        self._registers = bytearray(32)
        self._registers[1] = 0xFF
        self._registers[3] = 0xFF
        self._command = 0
        self._cycle_start: float | None = None
        self._data = bytes(8)
        self._valid = False

    def i2c_write(self, data: bytes) -> None:
        """Write a command byte (bit 7 is set), then values."""
        if not data:
            return
        if not data[0] & 0x80:
            raise Nack
        self._command = data[0]
        if self._kind == 3:
            return
        for value in data[1:]:
            self.reg_write(self._command & 0x1F, value)
            self._step()

    def i2c_read(self, length: int) -> bytes:
        """Read bytes, beginning at the register of the command.

        By the data sheet, type 00 repeats one register. Real chips increment nevertheless, because
        widely used drivers read eight bytes that way.
        """
        self._advance()
        out = bytearray()
        for _ in range(length):
            out.append(self.reg_read(self._command & 0x1F))
            self._step()
        return bytes(out)

    @property
    def _kind(self) -> int:
        return self._command >> 5 & 3

    def _step(self) -> None:
        if self._kind in (0, 1):
            self._command = self._command & 0xE0 | (self._command + 1) & 0x1F

    def reg_read(self, register: int) -> int:
        """Return the current value of a register."""
        if register == 0x12:
            return self.identity
        if register == 0x13:
            return 0x11 if self._valid else 0
        if 0x14 <= register <= 0x1B:
            return self._data[register - 0x14]
        return self._registers[register]

    def reg_write(self, register: int, value: int) -> None:
        """Write a register; those from 0x12 on are read-only."""
        if register >= 0x12:
            return
        self._advance()
        running = self._running
        self._registers[register] = value
        if self._running and not running:
            self._cycle_start = self._time.monotonic() + _CYCLE_SECONDS
        if not self._running:
            self._cycle_start = None
            self._valid = False

    @property
    def _running(self) -> bool:
        return self._registers[0] & 3 == 3

    @property
    def _cycles(self) -> int:
        return 256 - self._registers[1]

    def _advance(self) -> None:
        period = self._cycles * _CYCLE_SECONDS
        elapsed = -1.0 if self._cycle_start is None else self._time.monotonic() - self._cycle_start
        if self._cycle_start is None or elapsed < period:
            return
        self._cycle_start += int(elapsed / period) * period
        self._valid = True
        light = self.light
        channels = (light.clear, light.red, light.green, light.blue)
        self._data = b"".join(self._count(rate).to_bytes(2, "little") for rate in channels)

    def _count(self, rate: float) -> int:
        gain = _GAINS[self._registers[0x0F] & 3]
        counts = rate * self._cycles * _CYCLE_SECONDS * 1000 * gain
        return min(round(counts), 65535, 1024 * self._cycles)
