"""DS18B20 thermometer (Maxim, data sheet 19-7487 rev. 6) on a 1-Wire bus, slot by slot."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

from chipmodels.clock import TimeSource
from chipmodels.crc import maxim

FAMILY = 0x28
_CONVERSION_SECONDS = (0.09375, 0.1875, 0.375, 0.75)
_POWER_ON = 85.0
_SKIP, _MATCH, _READ_ROM, _SEARCH = 0xCC, 0x55, 0x33, 0xF0
_CONVERT, _READ, _WRITE, _COPY, _RECALL, _SUPPLY = 0x44, 0xBE, 0x4E, 0x48, 0xB8, 0xB4


class _State(Enum):
    IDLE = "idle"
    ROM_COMMAND = "ROM command"
    MATCH = "match"
    SEARCH = "search"
    FUNCTION = "function"
    RECEIVE = "receive"
    SEND = "send"


class Ds18b20Model:
    """A DS18B20 with its own supply. `celsius` is its temperature, `serial` its 48-bit number."""

    def __init__(
        self, time: TimeSource, *, celsius: float = 18.25, serial: int = 0x000005E2FDC3
    ) -> None:
        self.celsius = celsius
        head = bytes([FAMILY]) + serial.to_bytes(6, "little")
        self.rom = head + bytes([maxim(head)])
        self._time = time
        self._kept = bytes([0x4B, 0x46, 0x7F])  # TH, TL and configuration in the EEPROM
        self.power_cycle()

    def power_cycle(self) -> None:
        """Forget the scratchpad; the temperature register has 85 degrees (figure 7)."""
        self._raw = round(_POWER_ON * 16)
        self._settings = self._kept
        self._busy_until = 0.0
        self._state = _State.IDLE
        self._out: Iterator[int] = iter(())
        self._bits: list[int] = []
        self._position = 0

    def reset(self) -> bool:
        """Take a reset pulse; return the presence pulse."""
        self._await(_State.ROM_COMMAND)
        return True

    def read_slot(self) -> int:
        """Return the bit of a read slot: 1 if the chip leaves the line alone."""
        if self._state is _State.SEND:
            return next(self._out, 1)
        busy = self._state is _State.IDLE and self._time.monotonic() < self._busy_until
        return 0 if busy else 1

    def write_slot(self, bit: int) -> None:
        """Take a written bit."""
        if self._state in (_State.IDLE, _State.SEND, _State.SEARCH):
            return
        self._bits.append(bit)
        if self._state is _State.MATCH and len(self._bits) == 64:
            self._await(_State.FUNCTION if _bytes(self._bits) == self.rom else _State.IDLE)
        elif self._state is _State.RECEIVE and len(self._bits) == 24:
            self._settings = _bytes(self._bits)[:2] + bytes([_bytes(self._bits)[2] & 0x60 | 0x1F])
            self._await(_State.IDLE)
        elif self._state in (_State.ROM_COMMAND, _State.FUNCTION) and len(self._bits) == 8:
            command = _bytes(self._bits)[0]
            (self._select if self._state is _State.ROM_COMMAND else self._obey)(command)

    @property
    def searching(self) -> bool:
        """Whether the chip takes part in the search."""
        return self._state is _State.SEARCH

    @property
    def search_bit(self) -> int:
        """The bit of its number that the search is at."""
        return self.rom[self._position // 8] >> self._position % 8 & 1

    def search_on(self, direction: int) -> None:
        """Take the direction of the search; the chip leaves it if that is not its bit."""
        if self.search_bit != direction:
            self._await(_State.IDLE)
            return
        self._position += 1
        if self._position == 64:
            self._await(_State.FUNCTION)

    def _await(self, state: _State) -> None:
        self._state = state
        self._bits = []
        self._position = 0

    def _select(self, command: int) -> None:
        states = {_SKIP: _State.FUNCTION, _MATCH: _State.MATCH, _SEARCH: _State.SEARCH}
        self._await(states.get(command, _State.IDLE))
        if command == _READ_ROM:
            self._send(self.rom)

    def _obey(self, command: int) -> None:
        self._await(_State.IDLE)
        if command == _CONVERT:
            resolution = self._settings[2] >> 5 & 3
            self._busy_until = self._time.monotonic() + _CONVERSION_SECONDS[resolution]
            dropped = 3 - resolution
            self._raw = round(self.celsius * 16) >> dropped << dropped
        elif command == _READ:
            raw = (self._raw & 0xFFFF).to_bytes(2, "little")
            scratchpad = raw + self._settings + b"\xff\x0c\x10"
            self._send(scratchpad + bytes([maxim(scratchpad)]))
        elif command == _WRITE:
            self._await(_State.RECEIVE)
        elif command == _COPY:
            self._kept = self._settings
        elif command == _RECALL:
            self._settings = self._kept
        elif command == _SUPPLY:
            self._send(b"\xff")  # a supply of its own; 0 would be parasite power

    def _send(self, data: bytes) -> None:
        self._out = (byte >> n & 1 for byte in data for n in range(8))
        self._state = _State.SEND


def _bytes(bits: list[int]) -> bytes:
    values = (
        sum(bit << n for n, bit in enumerate(bits[at : at + 8])) for at in range(0, len(bits), 8)
    )
    return bytes(values)
