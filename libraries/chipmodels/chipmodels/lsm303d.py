"""LSM303D accelerometer and magnetometer (ST DocID023312 rev 2)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from chipmodels.clock import TimeSource

_ACCELERATION_MG = (0.061, 0.122, 0.183, 0.244, 0.732, 0.732, 0.732, 0.732)
_FIELD_MGAUSS = (0.080, 0.160, 0.320, 0.479)
_RESET = {0x1F: 0x00, 0x20: 0x07, 0x24: 0x18, 0x25: 0x20, 0x26: 0x01}
_ALL_NEW, _OVERRUN = 0x0F, 0xF0  # STATUS_M and STATUS_A: bits of each axis, and of all three
# The high byte of each axis: reading it clears the "new" bit of that axis.
_HIGH_BYTES = {
    0x09: ("field", 0x01), 0x0B: ("field", 0x02), 0x0D: ("field", 0x04),
    0x29: ("acceleration", 0x01), 0x2B: ("acceleration", 0x02), 0x2D: ("acceleration", 0x04),
}  # fmt: skip
Vector = tuple[float, float, float]


@dataclass
class Attitude:
    """Acceleration in g, magnetic field in gauss, and the temperature of the chip."""

    acceleration: Vector = (0.0, 0.0, 1.0)
    field: Vector = (0.25, 0.0, -0.4)
    temperature_celsius: float = 25.0


class Lsm303dModel:
    """An LSM303D."""

    def __init__(self, time: TimeSource, *, attitude: Attitude | None = None) -> None:
        self.attitude = attitude or Attitude()
        self._time = time
        self.power_cycle()

    def power_cycle(self) -> None:
        """Reset the registers as after power-on (table 16); both halves sleep."""
        self._control = dict.fromkeys(range(0x1F, 0x27), 0) | _RESET
        self._pointer = 0
        self._awake_since = {"acceleration": -1.0, "field": -1.0}
        self._latched: dict[int, int] = {}
        self._conversions = {"acceleration": 0, "field": 0}
        self._new = {"acceleration": 0, "field": 0}

    def i2c_write(self, data: bytes) -> None:
        """Write a sub-address (bit 7 means auto-increment), then values."""
        if not data:
            return
        self._pointer = data[0]
        for value in data[1:]:
            self.reg_write(self._pointer & 0x7F, value)
            self._step()

    def i2c_read(self, length: int) -> bytes:
        """Read bytes from the sub-address on; without bit 7, the same byte repeatedly."""
        self._latch()
        out = bytearray()
        for _ in range(length):
            out.append(self.reg_read(self._pointer & 0x7F))
            self._step()
        return bytes(out)

    def _step(self) -> None:
        if self._pointer & 0x80:
            self._pointer = 0x80 | (self._pointer + 1) & 0x7F

    def reg_read(self, register: int) -> int:
        """Return the current value of a register."""
        if register == 0x0F:
            return 0x49
        if register == 0x07:
            return self._new["field"]
        if register == 0x27:
            return self._new["acceleration"]
        if register in _HIGH_BYTES:
            half, axis = _HIGH_BYTES[register]
            self._new[half] &= ~((axis | 0x08) * 0x11)
        return self._latched.get(register, self._control.get(register, 0))

    def reg_write(self, register: int, value: int) -> None:
        """Write a control register; the others are read-only."""
        if register not in self._control:
            return
        self._control[register] = value
        now = self._time.monotonic()
        if register == 0x20:
            self._wake("acceleration", now if value >> 4 and value & 7 else -1.0)
        if register == 0x26:
            self._wake("field", now if value & 3 == 0 else -1.0)

    def _wake(self, half: str, since: float) -> None:
        self._awake_since[half] = since
        self._conversions[half] = 0

    def _converted(self, half: str) -> bool:
        """Return whether a conversion has finished since the last call."""
        since = self._awake_since[half]
        if since < 0:
            return False
        finished = int((self._time.monotonic() - since) / self._period(half) + 1e-6)
        if finished <= self._conversions[half]:
            return False
        self._conversions[half] = finished
        self._new[half] = _ALL_NEW | (_OVERRUN if self._new[half] & 0x08 else 0)
        return True

    def _period(self, half: str) -> float:
        if half == "field":
            return 1 / (3.125 * (1 << (self._control[0x24] >> 2 & 7)))
        rate = self._control[0x20] >> 4
        return 1 / (3.125 * (1 << rate - 1))  # not asleep, so not 0

    def _latch(self) -> None:
        """Update the output registers."""
        if self._converted("acceleration"):
            scale = _ACCELERATION_MG[self._control[0x21] >> 3 & 7] / 1000
            self._store(0x28, struct.pack("<3h", *_counts(self.attitude.acceleration, scale)))
        if self._converted("field"):
            scale = _FIELD_MGAUSS[self._control[0x25] >> 5 & 3] / 1000
            self._store(0x08, struct.pack("<3h", *_counts(self.attitude.field, scale)))
            if self._control[0x24] & 0x80:
                relative = round((self.attitude.temperature_celsius - 25) * 8)
                self._store(0x05, struct.pack("<h", max(-2048, min(2047, relative))))

    def _store(self, first: int, data: bytes) -> None:
        self._latched.update({first + i: byte for i, byte in enumerate(data)})


def _counts(vector: Vector, scale: float) -> list[int]:
    return [max(-32768, min(32767, round(v / scale))) for v in vector]
