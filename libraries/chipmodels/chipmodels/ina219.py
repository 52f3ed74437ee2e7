"""INA219 current and power monitor (TI SBOS448G)."""

from __future__ import annotations

from chipmodels.clock import TimeSource

_RESET = 0x399F
_SHUNT_VOLTS = 10e-6  # a count of the shunt voltage register (8.6.3.1)
_BUS_VOLTS = 4e-3  # a count of the bus voltage, which begins at bit 3 (8.6.3.2)
_READY, _OVERFLOW = 0x0002, 0x0001


class Ina219Model:
    """An INA219. `volts` is the supply of the load, `amperes` flow through a shunt of `ohms`."""

    def __init__(
        self,
        time: TimeSource,
        *,
        volts: float = 5.0,
        amperes: float = 0.5,
        ohms: float = 0.1,
    ) -> None:
        self.volts, self.amperes, self.ohms = volts, amperes, ohms
        self._time = time
        self.power_cycle()

    def power_cycle(self) -> None:
        """Reset the registers as after power-on (table 2)."""
        self._configuration = _RESET
        self._calibration = 0
        self._pointer = 0

    def i2c_write(self, data: bytes) -> None:
        """Write the pointer, then a word whose high byte is first."""
        if not data:
            return
        self._pointer = data[0] & 7
        if len(data) < 3:
            return
        word = int.from_bytes(data[1:3], "big")
        if self._pointer == 0:
            reset = word & 0x8000
            self._configuration = _RESET if reset else word
            self._calibration = 0 if reset else self._calibration
        elif self._pointer == 5:
            self._calibration = word & 0xFFFE  # bit 0 is always 0

    def i2c_read(self, length: int) -> bytes:
        """Read the word at the pointer."""
        word = self.reg_read(self._pointer) & 0xFFFF
        return (word.to_bytes(2, "big") * (length // 2 + 1))[:length]

    def reg_read(self, register: int) -> int:
        """Return the value of a register; those with a sign may be negative."""
        current = self._shunt * self._calibration // 4096  # 8.5.1, equation 4
        over = _OVERFLOW if abs(current) > 0x7FFF else 0
        registers = (
            self._configuration,
            self._shunt,
            self._bus << 3 | _READY | over,
            abs(current) * self._bus // 5000,  # equation 5
            current,
            self._calibration,
        )
        return registers[register] if register < len(registers) else 0

    @property
    def _shunt(self) -> int:
        """The shunt voltage, limited to the range that PGA sets: 40 to 320 mV."""
        most = 4000 << (self._configuration >> 11 & 3)
        return max(-most, min(most, round(self.amperes * self.ohms / _SHUNT_VOLTS)))

    @property
    def _bus(self) -> int:
        most = 8000 if self._configuration & 0x2000 else 4000
        return max(0, min(most, round(self.volts / _BUS_VOLTS)))
