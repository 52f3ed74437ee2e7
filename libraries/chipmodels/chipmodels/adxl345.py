"""ADXL345 accelerometer (Analog Devices, data sheet rev. G)."""

from __future__ import annotations

from chipmodels.clock import TimeSource

_IDENTITY = 0xE5
_LSB_PER_G = 256
_MEASURE = 0x08
_FULL_RESOLUTION, _LEFT = 0x08, 0x04
_OFFSET_G = 0.0156  # a count of the offset registers 0x1E to 0x20
_READ_ONLY = frozenset({0x00, 0x2B, 0x30, *range(0x32, 0x38), 0x39})
_RESET = {0x00: _IDENTITY, 0x2C: 0x0A, 0x30: 0x02}


class Adxl345Model:
    """An ADXL345 on I2C. `x`, `y` and `z` are accelerations in g."""

    def __init__(self, time: TimeSource, *, x: float = 0.0, y: float = 0.0, z: float = 1.0) -> None:
        self.x, self.y, self.z = x, y, z
        self._time = time
        self.power_cycle()

    def power_cycle(self) -> None:
        """Reset the registers as after power-on (table 19): standby, nothing measured."""
        self._registers = bytearray(64)
        for register, value in _RESET.items():
            self._registers[register] = value
        self._pointer = 0
        self._data = bytes(6)

    def i2c_write(self, data: bytes) -> None:
        """Write the pointer, then bytes from that register on."""
        if not data:
            return
        self._pointer = data[0] & 0x3F
        for value in data[1:]:
            if self._pointer not in _READ_ONLY:
                self._registers[self._pointer] = value
            self._pointer = (self._pointer + 1) & 0x3F

    def i2c_read(self, length: int) -> bytes:
        """Read from the register of the pointer on."""
        if self._registers[0x2D] & _MEASURE:
            self._data = b"".join(map(self._word, range(3), (self.x, self.y, self.z)))
        out = bytearray()
        for _ in range(length):
            data = 0x32 <= self._pointer <= 0x37
            out.append(self._data[self._pointer - 0x32] if data else self._registers[self._pointer])
            self._pointer = (self._pointer + 1) & 0x3F
        return bytes(out)

    def _word(self, axis: int, g: float) -> bytes:
        """Return a result as DATA_FORMAT asks: its range clips it, low byte first."""
        form = self._registers[0x31]
        wide = form & 3
        bits = 10 + wide if form & _FULL_RESOLUTION else 10
        per_g = _LSB_PER_G if form & _FULL_RESOLUTION else _LSB_PER_G >> wide
        offset = int.from_bytes(self._registers[0x1E + axis : 0x1F + axis], "little", signed=True)
        half = 1 << bits - 1
        counts = max(-half, min(half - 1, round((g + offset * _OFFSET_G) * per_g)))
        if form & _LEFT:
            counts <<= 16 - bits
        return (counts & 0xFFFF).to_bytes(2, "little")
