"""SHT30, SHT31 and SHT35: humidity and temperature (Sensirion, SHT3x-DIS data sheet version 7)."""

from __future__ import annotations

from chipmodels.clock import TimeSource
from chipmodels.crc import sensirion
from chipmodels.target import Nack

_START_SECONDS = 0.001
# Table 9: single shot without clock stretching, and the typical duration of table 4; the maximum is
# up to 1.8 times as long.
_SINGLE_SHOT = {0x2400: 0.0125, 0x240B: 0.0045, 0x2416: 0.0025}
_STRETCHED = (0x2C06, 0x2C0D, 0x2C10)
# Table 10: intervals of periodic measurements, by the command's high byte.
_PERIODIC = {0x20: 2.0, 0x21: 1.0, 0x22: 0.5, 0x23: 0.25, 0x27: 0.1}
_FETCH, _BREAK, _RESET, _STATUS, _CLEAR = 0xE000, 0x3093, 0x30A2, 0xF32D, 0x3041
_HEATER_ON, _HEATER_OFF, _SERIAL = 0x306D, 0x3066, 0x3780
# Application note "Alert Mode": the commands to read the limits, those to write them, and the
# values after power-on: 7 bits of humidity, then 9 of temperature.
_LIMITS = {0xE102: 0x340E, 0xE109: 0x3810, 0xE114: 0xC92D, 0xE11F: 0xCD33}
_WRITES = {0x6100: 0xE102, 0x610B: 0xE109, 0x6116: 0xE114, 0x611D: 0xE11F}
_HEATER_BIT, _RESET_BIT, _ALERT_BIT = 1 << 13, 1 << 4, 1 << 15


class Sht3xModel:
    """An SHT3x. `celsius` and `percent` are the air around it; `slow` prolongs measurements."""

    def __init__(
        self,
        time: TimeSource,
        *,
        celsius: float = 21.5,
        percent: float = 45.0,
        serial: int = 0x0A1B2C3D,
        slow: float = 1.0,
    ) -> None:
        self.slow = slow
        self.celsius = celsius
        self.percent = percent
        self.serial = serial
        self._time = time
        self.power_cycle()

    def power_cycle(self) -> None:
        """Forget everything; the chip does not answer until it has started (table 4)."""
        self._ready_at = self._time.monotonic() + _START_SECONDS
        self._limits = dict(_LIMITS)
        self._status = _RESET_BIT | _ALERT_BIT
        self._answer: bytes | None = None
        self._measured_at: float | None = None
        self._every: float | None = None

    def i2c_write(self, data: bytes) -> None:
        """Obey a command of two bytes; a limit has a word and its checksum behind it."""
        if self._time.monotonic() < self._ready_at:
            raise Nack
        if not data:
            return
        command = int.from_bytes(data[:2], "big")
        if command in _WRITES and data[4:] == bytes([sensirion(data[2:4])]):
            self._limits[_WRITES[command]] = int.from_bytes(data[2:4], "big")
        self._obey(command)

    def i2c_read(self, length: int) -> bytes:
        """Return the answer to the last command. Raises `Nack` while there is none (4.4)."""
        single = self._every is None
        if single and self._measured_at is not None and self._time.monotonic() >= self._measured_at:
            self._answer = self._measurement()
            self._measured_at = None
        if self._answer is None or self._time.monotonic() < self._ready_at:
            raise Nack
        answer, self._answer = self._answer, None
        return answer[:length].ljust(length, b"\xff")

    def _obey(self, command: int) -> None:
        now = self._time.monotonic()
        self._answer = None
        if command in _SINGLE_SHOT:
            self._every = None
            self._measured_at = now + _SINGLE_SHOT[command] * self.slow
        elif command in _STRETCHED:
            self._answer = self._measurement()  # the time passes while the clock is held
        elif command >> 8 in _PERIODIC:
            self._every = _PERIODIC[command >> 8]
            self._measured_at = now + self._every
        elif command == _FETCH and self._every is not None and self._measured_at is not None:
            self._fetch(self._every, self._measured_at, now)
        elif command in (_BREAK, _RESET):
            self._every = self._measured_at = None
            self._ready_at = now + (_START_SECONDS if command == _RESET else 0)
        elif command == _CLEAR:
            self._status &= _HEATER_BIT
        elif command in (_HEATER_ON, _HEATER_OFF):
            heating = _HEATER_BIT if command == _HEATER_ON else 0
            self._status = self._status & ~_HEATER_BIT | heating
        elif command == _STATUS:
            self._answer = _words(self._status)
        elif command == _SERIAL:
            self._answer = _words(self.serial >> 16, self.serial & 0xFFFF)
        elif command in self._limits:
            self._answer = _words(self._limits[command])

    def _fetch(self, every: float, due: float, now: float) -> None:
        """Give a periodic measurement once (4.6)."""
        if now >= due:
            self._answer = self._measurement()
            self._measured_at = due + every * (int((now - due) / every) + 1)

    def _measurement(self) -> bytes:
        """Return temperature and humidity by section 4.13, each with its checksum."""
        temperature = round((self.celsius + 45) / 175 * 65535)
        humidity = round(self.percent / 100 * 65535)
        return _words(*(min(max(value, 0), 65535) for value in (temperature, humidity)))


def _words(*values: int) -> bytes:
    words = (value.to_bytes(2, "big") for value in values)
    return b"".join(word + bytes([sensirion(word)]) for word in words)
