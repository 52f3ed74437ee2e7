"""SRF08 ultrasonic range finder (Devantech, "SRF08 Ultra sonic range finder")."""

from __future__ import annotations

from chipmodels.clock import TimeSource
from chipmodels.target import Nack

_REVISION = 10
_SOUND = 343.0  # metres in a second
_STEP = 0.043  # metres of range for each count of the register
_CENTIMETRES, _INCHES, _MICROSECONDS = 0x51, 0x50, 0x52
_UNITS = {_CENTIMETRES: 100.0, _INCHES: 100 / 2.54, _MICROSECONDS: 2e6 / _SOUND}
_ECHO_HIGH, _ECHO_LOW, _LAST = 0x02, 0x03, 0x23
_MOST_GAIN, _MOST_RANGE = 0x1F, 0xFF


class Srf08Model:
    """An SRF08. `meters` is the distance of what reflects; 0 means that nothing does.

    `light` is what its light sensor gives, 0 to 255. With `slow` 1.5, ranging takes half as long
    again. While it ranges, it does not answer.
    """

    def __init__(
        self, time: TimeSource, *, meters: float = 1.0, light: float = 120.0, slow: float = 1.0
    ) -> None:
        self.meters = meters
        self.light = light
        self.slow = slow
        self._time = time
        self.power_cycle()

    def power_cycle(self) -> None:
        """Forget range, gain and echoes, as after power-on."""
        self._gain, self._range = _MOST_GAIN, _MOST_RANGE
        self._echo = 0
        self._light = 0
        self._pointer = 0
        self._busy_until = 0.0

    @property
    def range_meters(self) -> float:
        """The longest distance that it waits for."""
        return (self._range + 1) * _STEP

    def i2c_write(self, data: bytes) -> None:
        """Write a register's number, and then its value."""
        self._answer()
        if not data:
            return
        self._pointer = data[0]
        for value in data[1:]:
            self._write(self._pointer, value)
            self._pointer += 1

    def i2c_read(self, length: int) -> bytes:
        """Return registers from the one that was written last."""
        self._answer()
        found = bytes(self._read(self._pointer + n) for n in range(length))
        self._pointer += length
        return found

    def _answer(self) -> None:
        if self._time.monotonic() < self._busy_until:
            raise Nack

    def _write(self, register: int, value: int) -> None:
        if register == 0x00 and value in _UNITS:
            seen = 0 < self.meters <= self.range_meters
            self._echo = min(0xFFFF, round(self.meters * _UNITS[value])) if seen else 0
            self._light = max(0, min(255, round(self.light)))
            lasts = 2 * self.range_meters / _SOUND * self.slow
            self._busy_until = self._time.monotonic() + lasts
        elif register == 0x01:
            self._gain = min(_MOST_GAIN, value)
        elif register == _ECHO_HIGH:
            self._range = value

    def _read(self, register: int) -> int:
        if register == 0x00:
            return _REVISION
        if register == 0x01:
            return self._light
        if register in (_ECHO_HIGH, _ECHO_LOW):
            return self._echo >> 8 if register == _ECHO_HIGH else self._echo & 0xFF
        return 0 if register <= _LAST else 0xFF  # there are no further echoes
