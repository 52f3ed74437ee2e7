"""``/dev/i2c-N`` over CUSE, which behaves as that of drivers/i2c/i2c-dev.c."""

from __future__ import annotations

import errno
import os
import struct
from dataclasses import dataclass

from chipmodels.adapter import I2C_MESSAGES_MAX, I2cAdapter, Message
from chipmodels.cuse import Call, Done, Need, Range
from chipmodels.smbus import (
    PacketErrorChecking,
    Size,
    Transfers,
    process_call,
    smbus_read,
    smbus_write,
)

# linux/i2c-dev.h and linux/i2c.h
_RETRIES, _TIMEOUT, _SLAVE, _TENBIT, _FUNCS = 0x0701, 0x0702, 0x0703, 0x0704, 0x0705
_SLAVE_FORCE, _RDWR, _PEC, _SMBUS = 0x0706, 0x0707, 0x0708, 0x0720
_M_RD, _M_TEN = 0x0001, 0x0010
_INT_MAX = 0x7FFFFFFF
_FUNC_I2C = 0x00000001
_FUNC_SMBUS_EMUL = 0x0EFF0008
_RDWR_DATA = struct.Struct("<QI4x")
_MSG = struct.Struct("<HHH2xQ")
_SMBUS_DATA = struct.Struct("<BB2xIQ")
_UNION_BYTES = 34


@dataclass(frozen=True)
class I2cNode:
    """The device node of bus `number`, for an adapter."""

    adapter: I2cAdapter
    number: int

    @property
    def name(self) -> str:
        """The name that udev gives to the node."""
        return f"i2c-{self.number}"

    def open(self) -> I2cFile:
        """Open the node, without a selected address."""
        return I2cFile(self.adapter)


class I2cFile:
    """An open file of the bus."""

    def __init__(self, adapter: I2cAdapter) -> None:
        self._adapter = adapter
        self._address = 0
        self._ten_bit = 0
        self._checked = False

    def read(self, length: int) -> bytes:
        """Send one read message to the selected address."""
        return self._adapter.transfer(
            [Message(self._address, length=length, read=True, flags=self._ten_bit)]
        )[0]

    def write(self, data: bytes) -> None:
        """Send one write message to the selected address."""
        self._adapter.transfer([Message(self._address, data, flags=self._ten_bit)])

    def ioctl(self, call: Call) -> Need | Done:
        """Handle a request of i2c-dev. Raises OSError as i2c-dev does."""
        if call.command in (_SLAVE, _SLAVE_FORCE):
            if call.argument > (0x3FF if self._ten_bit else 0x7F):
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            self._address = call.argument
            return Done()
        if call.command in (_RETRIES, _TIMEOUT, _TENBIT, _PEC):
            return self._set(call.command, call.argument)
        if call.command == _FUNCS:
            need = Need((), (Range(call.argument, 8),))
            return Done(struct.pack("<Q", _FUNC_I2C | _FUNC_SMBUS_EMUL)) if call.has(need) else need
        if call.command == _SMBUS:
            return self._smbus(call)
        if call.command == _RDWR:
            return self._rdwr(call)
        raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))

    def _set(self, command: int, value: int) -> Done:
        """Change a setting, which is the file's; only the timeout is the adapter's."""
        if command == _TENBIT:
            self._ten_bit = _M_TEN if value else 0
        elif command == _PEC:
            self._checked = bool(value)
        elif value > _INT_MAX:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        elif command == _TIMEOUT:
            self._adapter.timeout_seconds = value / 100
        return Done()

    def _bus(self, size: int) -> Transfers:
        """Return the adapter, with error checking if it is on and the transaction supports it."""
        if self._ten_bit:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        if not self._checked or size in (Size.QUICK, Size.I2C_BLOCK_DATA):
            return self._adapter
        return PacketErrorChecking(self._adapter)

    def _smbus(self, call: Call) -> Need | Done:
        head = Range(call.argument, _SMBUS_DATA.size)
        if len(call.data) < head.length:
            return Need((head,))
        reading, command, size, pointer = _SMBUS_DATA.unpack_from(call.data)
        if size > Size.I2C_BLOCK_DATA:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        if pointer == 0:
            return self._smbus_without_data(bool(reading), command, Size(size))
        union = Range(pointer, _UNION_BYTES)
        back = (union,) if reading or size == Size.PROC_CALL else ()
        need = Need((head, union), back)
        if not call.has(need):
            return need
        data = call.data[head.length :]
        if size == Size.PROC_CALL:
            received = process_call(self._bus(size), self._address, command, data[:2])
            return Done(received + data[2:])
        if not reading:
            payload = _payload(size, data)
            smbus_write(self._bus(size), self._address, Size(size), command, payload)
            return Done()
        received = smbus_read(self._bus(size), self._address, Size(size), command, data[0])
        if size == Size.I2C_BLOCK_DATA:
            received = bytes([len(received)]) + received
        return Done(received + data[len(received) :])

    def _smbus_without_data(self, reading: bool, command: int, size: Size) -> Done:
        """Run a quick transaction, or send a byte as a command."""
        if size not in (Size.QUICK, Size.BYTE) or (reading and size is Size.BYTE):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        smbus_write(self._bus(size), self._address, size, command, b"")
        return Done()

    def _rdwr(self, call: Call) -> Need | Done:
        head = Range(call.argument, _RDWR_DATA.size)
        if len(call.data) < head.length:
            return Need((head,))
        pointer, count = _RDWR_DATA.unpack_from(call.data)
        if not 0 < count <= I2C_MESSAGES_MAX:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        table = Range(pointer, _MSG.size * count)
        end = head.length + table.length
        if len(call.data) < end:
            return Need((head, table))
        entries = [_MSG.unpack_from(call.data, head.length + _MSG.size * i) for i in range(count)]
        read = tuple(Range(p, n) for _, flags, n, p in entries if not flags & _M_RD and n)
        write = tuple(Range(p, n) for _, flags, n, p in entries if flags & _M_RD and n)
        need = Need((head, table, *read), write)
        if not call.has(need):
            return need
        messages, position = [], end
        for address, flags, length, _ in entries:
            others = flags & ~_M_RD
            if flags & _M_RD:
                messages.append(Message(address, length=length, read=True, flags=others))
            else:
                data = call.data[position : position + length]
                messages.append(Message(address, data, flags=others))
                position += length
        return Done(b"".join(self._adapter.transfer(messages)), count)


def _payload(size: int, data: bytes) -> bytes:
    """Return the bytes of union i2c_smbus_data that are sent."""
    if size == Size.BYTE_DATA:
        return data[:1]
    if size == Size.WORD_DATA:
        return data[:2]
    return data[1 : 1 + data[0]]
