"""``/dev/spidevB.C`` over CUSE, which behaves as that of drivers/spi/spidev.c."""

from __future__ import annotations

import errno
import os
import struct
from dataclasses import dataclass

from chipmodels.adapter import SPI_BUFFER_BYTES, SpiController
from chipmodels.cuse import Call, Done, Need, Range

# linux/spi/spidev.h: type 'k', numbers 0..5; the size is in the command, as in any _IOC.
_TYPE = ord("k")
_MESSAGE, _MODE, _LSB_FIRST, _BITS, _SPEED, _MODE32 = range(6)
_WRITE = 1
_TRANSFER = struct.Struct("<QQIIHBBBBBx")


@dataclass(frozen=True)
class SpiNode:
    """Chip select `chip_select` of controller `bus`."""

    controller: SpiController
    bus: int
    chip_select: int

    @property
    def name(self) -> str:
        """The name that udev gives to the node."""
        return f"spidev{self.bus}.{self.chip_select}"

    def open(self) -> SpiFile:
        """Open the node, in mode 0."""
        return SpiFile(self.controller, self.chip_select)


class SpiFile:
    """An open file of the chip select."""

    def __init__(self, controller: SpiController, chip_select: int) -> None:
        self._controller = controller
        self._chip_select = chip_select
        self._settings = {_MODE: 0, _LSB_FIRST: 0, _BITS: 8, _SPEED: 500_000}

    def read(self, length: int) -> bytes:
        """Read bytes."""
        return self._exchange(bytes(length))

    def write(self, data: bytes) -> None:
        """Write bytes."""
        self._exchange(data)

    def _exchange(self, data: bytes) -> bytes:
        return self._clocked(data, self._settings[_SPEED])

    def _clocked(self, data: bytes, speed_hz: int) -> bytes:
        mode = self._settings[_MODE]
        return self._controller.transfer(self._chip_select, data, mode, speed_hz)

    def ioctl(self, call: Call) -> Need | Done:
        """Handle a request of spidev. Raises OSError as spidev does."""
        number, kind = call.command & 0xFF, call.command >> 8 & 0xFF
        size, direction = call.command >> 16 & 0x3FFF, call.command >> 30
        if kind != _TYPE or number > _MODE32:
            raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))
        argument = Range(call.argument, size)
        if number == _MESSAGE:
            return self._message(call, argument)
        key = _MODE if number == _MODE32 else number
        if direction == _WRITE:
            if len(call.data) < size:
                return Need((argument,))
            self._set(key, int.from_bytes(call.data[:size], "little"))
            return Done()
        need = Need((), (argument,))
        value = self._settings[key]
        return Done(value.to_bytes(size, "little")) if call.has(need) else need

    def _set(self, key: int, value: int) -> None:
        if (key == _LSB_FIRST and value) or (key == _SPEED and not value):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        changed = self._settings | {key: value}
        self._controller.check(changed[_MODE], changed[_BITS])
        self._settings = changed

    def _message(self, call: Call, table: Range) -> Need | Done:
        if table.length % _TRANSFER.size:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        if len(call.data) < table.length:
            return Need((table,))
        entries = list(_TRANSFER.iter_unpack(call.data[: table.length]))
        read = tuple(Range(tx, length) for tx, _, length, *_ in entries if tx and length)
        write = tuple(Range(rx, length) for _, rx, length, *_ in entries if rx and length)
        need = Need((table, *read), write)
        if not call.has(need):
            return need
        self._check(entries)
        return self._run(entries, call.data[table.length :])

    def _check(self, entries: list[tuple[int, ...]]) -> None:
        """Raise OSError for a message that spidev or the controller refuses."""
        if sum(length for _, _, length, *_ in entries) > SPI_BUFFER_BYTES:
            raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
        for *_, bits, _, tx_lines, rx_lines, _ in entries:
            self._controller.check(self._settings[_MODE], bits)
            if max(tx_lines, rx_lines) > 1:
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    def _run(self, entries: list[tuple[int, ...]], sent: bytes) -> Done:
        """Run transfers under one chip select, except where one requests to release it."""
        out, held, position = b"", b"", 0
        wanted: list[bool] = []
        fastest = 0
        for tx, rx, length, speed, _, _, release, *_ in entries:
            fastest = max(fastest, speed or self._settings[_SPEED])
            held += sent[position : position + length] if tx else bytes(length)
            position += length if tx else 0
            wanted += [bool(rx)] * length
            if release:
                out, held, fastest = out + self._clocked(held, fastest), b"", 0
        out += self._clocked(held, fastest) if held else b""
        kept = bytes(byte for byte, keep in zip(out, wanted, strict=True) if keep)
        return Done(kept, len(out))
