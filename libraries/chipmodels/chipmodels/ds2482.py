"""DS2482-100: a 1-Wire master on I2C (Maxim, data sheet 19-4930 rev. 8), with chips behind it."""

from __future__ import annotations

from collections.abc import Callable

from chipmodels.clock import TimeSource
from chipmodels.ds18b20 import Ds18b20Model
from chipmodels.target import Nack

_RESET, _POINTER, _CONFIGURE = 0xF0, 0xE1, 0xD2
_WIRE_RESET, _BIT, _WRITE, _READ, _TRIPLET = 0xB4, 0x87, 0xA5, 0x96, 0x78
_STATUS_REGISTER, _DATA_REGISTER, _CONFIGURATION_REGISTER = 0xF0, 0xE1, 0xC3
_PRESENCE, _LEVEL, _WAS_RESET, _SINGLE, _TRIPLET_SECOND, _DIRECTION = (
    0x02, 0x08, 0x10, 0x20, 0x40, 0x80,
)  # fmt: skip
_WITH_BYTE = (_POINTER, _CONFIGURE, _BIT, _WRITE, _TRIPLET)


class Ds2482Model:
    """A DS2482-100. What happens on the wire takes no time: it is never busy."""

    def __init__(self, time: TimeSource, *, chips: tuple[Ds18b20Model, ...] = ()) -> None:
        self.chips = chips
        self._time = time
        self.power_cycle()

    def power_cycle(self) -> None:
        """Reset the master and the chips behind it."""
        self._reset()
        for chip in self.chips:
            chip.power_cycle()

    def i2c_write(self, data: bytes) -> None:
        """Obey a command. Raises `Nack` for one that the chip does not know, as channel select."""
        if not data:
            return
        command, byte = data[0], data[1] if len(data) > 1 else None
        if command in _WITH_BYTE and byte is None:
            return
        self._commands(command)(byte or 0)
        if command in (_WIRE_RESET, _BIT, _WRITE, _READ, _TRIPLET):
            self._pointer = _STATUS_REGISTER

    def i2c_read(self, length: int) -> bytes:
        """Read the register of the pointer repeatedly."""
        registers = {_STATUS_REGISTER: self._status | _LEVEL, _DATA_REGISTER: self._data}
        value = registers.get(self._pointer, self._configuration)
        return bytes([value]) * length

    def _commands(self, command: int) -> Callable[[int], None]:
        known: dict[int, Callable[[int], None]] = {
            _RESET: self._reset,
            _POINTER: self._point,
            _CONFIGURE: self._configure,
            _WIRE_RESET: self._wire_reset,
            _BIT: self._bit,
            _WRITE: self._write,
            _READ: self._read,
            _TRIPLET: self._triplet,
        }
        if command not in known:
            raise Nack
        return known[command]

    def _reset(self, _: int = 0) -> None:
        self._status = _WAS_RESET
        self._data = self._configuration = 0
        self._pointer = _STATUS_REGISTER

    def _point(self, register: int) -> None:
        if register not in (_STATUS_REGISTER, _DATA_REGISTER, _CONFIGURATION_REGISTER):
            raise Nack
        self._pointer = register

    def _configure(self, value: int) -> None:
        """Take a configuration; its high nibble must be the complement of the low one."""
        if value >> 4 == ~value & 0xF:
            self._configuration = value & 0xF
            self._status &= ~_WAS_RESET
        self._pointer = _CONFIGURATION_REGISTER

    def _bit(self, value: int) -> None:
        self._status = self._status & ~_SINGLE | _SINGLE * self._touch(value >> 7)

    def _write(self, value: int) -> None:
        for n in range(8):
            self._touch(value >> n & 1)

    def _read(self, _: int) -> None:
        self._data = sum(self._touch(1) << n for n in range(8))

    def _wire_reset(self, _: int) -> None:
        present = [chip.reset() for chip in self.chips]
        self._status = self._status & ~_PRESENCE | _PRESENCE * any(present)

    def _touch(self, bit: int) -> int:
        """Make a write-0 slot, or a write-1 slot, in which the chips may pull the line down."""
        result = bit & min((chip.read_slot() for chip in self.chips), default=1) if bit else 0
        for chip in self.chips:
            chip.write_slot(bit)
        return result

    def _triplet(self, value: int) -> None:
        """Read a bit and its complement, then write the direction of the search (table 6)."""
        wanted = value >> 7
        chips = [chip for chip in self.chips if chip.searching]
        first = min((chip.search_bit for chip in chips), default=1)
        second = min((1 - chip.search_bit for chip in chips), default=1)
        direction = wanted if first == second == 0 else first
        for chip in chips:
            chip.search_on(direction)
        bits = _SINGLE * first | _TRIPLET_SECOND * second | _DIRECTION * direction
        self._status = self._status & ~(_SINGLE | _TRIPLET_SECOND | _DIRECTION) | bits
