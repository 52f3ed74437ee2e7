"""ADS1015 and ADS1115 four-input converters (TI SBAS473E, SBAS444E)."""

from __future__ import annotations

from chipmodels.clock import TimeSource

_FULL_SCALE = (6.144, 4.096, 2.048, 1.024, 0.512, 0.256, 0.256, 0.256)
_PAIRS = ((0, 1), (0, 3), (1, 3), (2, 3))
_WAKE_SECONDS = 25e-6
_OS = 0x8000
_SINGLE_SHOT = 0x0100


class Ads1015Model:
    """An ADS1015. `volts` are the four inputs against ground; `slow` prolongs conversions."""

    rates: tuple[int, ...] = (128, 250, 490, 920, 1600, 2400, 3300, 3300)
    """Conversions a second, by rate code (section 8.6.3)."""
    bits = 12
    """The bits of a result, at the top of its word (section 8.6.2)."""

    def __init__(
        self,
        time: TimeSource,
        *,
        volts: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0),
        slow: float = 1.0,
    ) -> None:
        self.volts = volts
        self.slow = slow
        self._time = time
        self.power_cycle()

    def power_cycle(self) -> None:
        """Reset the registers as after power-on (sections 8.6.2 to 8.6.4)."""
        self._words = [0, 0x0583, 0x8000, 0x7FFF]
        self._pointer = 0
        self._done_at: float | None = None
        self._converting = 0

    def i2c_write(self, data: bytes) -> None:
        """Write the pointer, then a word whose high byte is first."""
        if not data:
            return
        self._pointer = data[0] & 3
        if len(data) >= 3:
            self.reg_write(self._pointer, int.from_bytes(data[1:3], "big"))

    def i2c_read(self, length: int) -> bytes:
        """Read the word at the pointer repeatedly, with its high byte first."""
        word = self.reg_read(self._pointer).to_bytes(2, "big")
        return (word * (length // 2 + 1))[:length]

    def reg_read(self, register: int) -> int:
        """Return the current value of a register."""
        self._advance()
        if register == 1 and self._done_at is None:
            return self._words[1] | _OS
        return self._words[register]

    def reg_write(self, register: int, value: int) -> None:
        """Write a register; in single-shot mode, writing OS starts a conversion."""
        self._advance()
        if register == 0:
            return
        self._words[register] = value & ~_OS if register == 1 else value
        if register == 1 and (value & _OS or not value & _SINGLE_SHOT):
            self._converting = value
            period = (1 / self.rates[value >> 5 & 7]) * self.slow
            self._done_at = self._time.monotonic() + _WAKE_SECONDS + period

    def _advance(self) -> None:
        if self._done_at is None or self._time.monotonic() < self._done_at:
            return
        self._words[0] = self._convert()
        self._done_at = None if self._converting & _SINGLE_SHOT else self._time.monotonic()

    def _convert(self) -> int:
        full_scale = _FULL_SCALE[self._converting >> 9 & 7]
        mux = self._converting >> 12 & 7
        if mux >= 4:
            volts = self.volts[mux - 4]
        else:
            plus, minus = _PAIRS[mux]
            volts = self.volts[plus] - self.volts[minus]
        half = 1 << self.bits - 1
        counts = max(-half, min(half - 1, round(volts * half / full_scale)))
        return counts << 16 - self.bits & 0xFFFF


class Ads1115Model(Ads1015Model):
    """An ADS1115: the same registers, 16 bits, and other rates for the same codes."""

    rates = (8, 16, 32, 64, 128, 250, 475, 860)
    bits = 16
