"""MMA8452Q accelerometer (Freescale, data sheet MMA8452Q rev. 4.1)."""

from __future__ import annotations

from chipmodels.clock import TimeSource

_IDENTITY = 0x2A
_STATUS, _OUT, _WHO, _RANGE = 0x00, 0x01, 0x0D, 0x0E
_CONTROL1, _CONTROL2 = 0x2A, 0x2B
_ACTIVE, _RESET = 0x01, 0x40
_READ_ONLY = frozenset({*range(0x08), 0x0B, 0x0C, _WHO, 0x10, 0x16, 0x1E, 0x22})
_WHILE_ACTIVE = frozenset({_CONTROL1, _CONTROL2})
"""All other registers can be changed in standby only (section 6)."""
_RATES = (800.0, 400.0, 200.0, 100.0, 50.0, 12.5, 6.25, 1.56)
_COUNTS_PER_G = (1024, 512, 256, 256)
_NEW, _OVERWRITTEN = 0x0F, 0xF0
_REGISTERS = 0x32


class Mma8452Model:
    """An MMA8452Q. `x`, `y` and `z` are accelerations in g."""

    def __init__(self, time: TimeSource, *, x: float = 0.0, y: float = 0.0, z: float = 1.0) -> None:
        self.x, self.y, self.z = x, y, z
        self._time = time
        self.power_cycle()

    def power_cycle(self) -> None:
        """Reset the registers as after power-on: standby, nothing measured."""
        self._registers = bytearray(_REGISTERS)
        self._registers[_WHO] = _IDENTITY
        self._pointer = 0
        self._sampled = 0  # samples since it was made active
        self._active_since = 0.0

    def i2c_write(self, data: bytes) -> None:
        """Write a register's number, then values from that register on."""
        if not data:
            return
        self._sample()
        self._pointer = data[0]
        for value in data[1:]:
            self._write(self._pointer, value)
            self._pointer += 1

    def i2c_read(self, length: int) -> bytes:
        """Read registers in order. The high byte of an axis clears its "new" bit."""
        self._sample()
        found = bytearray()
        for _ in range(length):
            register = self._pointer
            found.append(self._registers[register] if register < _REGISTERS else 0)
            if register in (_OUT, _OUT + 2, _OUT + 4):
                self._clear((register - _OUT) // 2)
            self._pointer += 1
        return bytes(found)

    def _write(self, register: int, value: int) -> None:
        if register == _CONTROL2 and value & _RESET:
            self.power_cycle()
            return
        active = self._registers[_CONTROL1] & _ACTIVE
        if register >= _REGISTERS or register in _READ_ONLY:
            return
        if active and register not in _WHILE_ACTIVE:
            return
        self._registers[register] = value
        if register == _CONTROL1 and value & _ACTIVE and not active:
            self._sampled, self._active_since = 0, self._time.monotonic()

    def _sample(self) -> None:
        """Take the samples that are due; a second one overwrites a first that was not read."""
        control = self._registers[_CONTROL1]
        if not control & _ACTIVE:
            return
        rate = _RATES[control >> 3 & 7]
        due = int((self._time.monotonic() - self._active_since) * rate)
        taken = due - self._sampled
        self._sampled = due
        if taken <= 0:
            return
        if taken > 1 or self._registers[_STATUS] & _NEW:
            self._registers[_STATUS] |= _OVERWRITTEN
        self._registers[_STATUS] |= _NEW
        for axis, g in enumerate((self.x, self.y, self.z)):
            counts = max(-2048, min(2047, round(g * _COUNTS_PER_G[self._registers[_RANGE] & 3])))
            word = (counts << 4 & 0xFFFF).to_bytes(2, "big")  # 12 bits, left-justified
            self._registers[_OUT + 2 * axis : _OUT + 2 * axis + 2] = word

    def _clear(self, axis: int) -> None:
        self._registers[_STATUS] &= ~((1 << axis | 0x08) * 0x11) & 0xFF
