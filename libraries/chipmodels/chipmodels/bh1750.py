"""BH1750FVI ambient light sensor (ROHM, data sheet 2014.11 rev. D)."""

from __future__ import annotations

from chipmodels.clock import TimeSource

_COUNTS_PER_LUX = 1.2
_DEFAULT_TIME = 69
_CONVERSION_SECONDS = {0: 0.120, 1: 0.120, 3: 0.016}  # typical, by the mode's low bits
_MOST = 65535


class Bh1750Model:
    """A BH1750. `lux` is the light that falls on it; with `slow` 1.5, conversions take longest."""

    def __init__(self, time: TimeSource, *, lux: float = 250.0, slow: float = 1.0) -> None:
        self.lux = lux
        self.slow = slow
        self._time = time
        self.power_cycle()

    def power_cycle(self) -> None:
        """Power down, with the measurement time and result after power-on."""
        self._register = _DEFAULT_TIME
        self._result = 0
        self._mode: int | None = None
        self._done_at = 0.0

    def i2c_write(self, data: bytes) -> None:
        """Obey each byte as an instruction ("Instruction Set Architecture")."""
        for opcode in data:
            self._obey(opcode)

    def i2c_read(self, length: int) -> bytes:
        """Return the result of the last measurement that has ended, high byte first."""
        self._advance()
        return (self._result.to_bytes(2, "big") * (length // 2 + 1))[:length]

    def _obey(self, opcode: int) -> None:
        self._advance()
        if opcode == 0x00:
            self._mode = None
        elif opcode == 0x07:
            self._result = 0
        elif opcode & 0xF8 == 0x40:
            self._register = self._register & 0x1F | (opcode & 7) << 5
        elif opcode & 0xE0 == 0x60:
            self._register = self._register & 0xE0 | opcode & 0x1F
        elif opcode >> 4 in (1, 2) and opcode & 0xF in _CONVERSION_SECONDS:
            self._mode = opcode
            self._done_at = self._time.monotonic() + self._conversion
        elif opcode != 0x01:
            self._mode = None  # "not available": the data sheet leaves the effect open

    @property
    def _conversion(self) -> float:
        seconds = _CONVERSION_SECONDS[(self._mode or 0) & 0xF]
        return seconds * self.slow * self._register / _DEFAULT_TIME

    def _advance(self) -> None:
        if self._mode is None or self._time.monotonic() < self._done_at:
            return
        fine = 2 if self._mode & 0xF == 1 else 1
        counts = self.lux * _COUNTS_PER_LUX * fine * self._register / _DEFAULT_TIME
        self._result = min(_MOST, round(counts))
        if self._mode >> 4 == 2:  # one time: powers down by itself
            self._mode = None
        else:
            self._done_at = self._time.monotonic() + self._conversion
