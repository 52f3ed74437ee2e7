"""The models with the interfaces of smbus2 and spidev, inside the process of the test.

Only the calls are reproduced, not the packages: neither needs to be installed.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Sequence
from typing import Protocol

from chipmodels.adapter import I2cAdapter, Message, SpiController
from chipmodels.smbus import BLOCK_MAX, Size, process_call, smbus_read, smbus_write

I2C_M_RD = 1


class RdwrMessage(Protocol):
    """The fields of struct i2c_msg that ``smbus2.i2c_msg`` has."""

    addr: int
    flags: int
    len: int
    buf: ctypes._Pointer[ctypes.c_char]


class ModelSMBus:
    """The interface of ``smbus2.SMBus`` to an adapter."""

    def __init__(self, adapter: I2cAdapter) -> None:
        self.adapter = adapter
        self.closed = False

    def close(self) -> None:
        """Note that the bus was closed, for tests."""
        self.closed = True

    def write_quick(self, i2c_addr: int) -> None:
        """Send the address only."""
        smbus_write(self.adapter, i2c_addr, Size.QUICK, 0, b"")

    def read_byte(self, i2c_addr: int) -> int:
        """Read one byte without a command."""
        return smbus_read(self.adapter, i2c_addr, Size.BYTE, 0, 1)[0]

    def write_byte(self, i2c_addr: int, value: int) -> None:
        """Write one byte without a command."""
        smbus_write(self.adapter, i2c_addr, Size.BYTE, value, b"")

    def read_byte_data(self, i2c_addr: int, register: int) -> int:
        """Read one byte of a register."""
        return smbus_read(self.adapter, i2c_addr, Size.BYTE_DATA, register, 1)[0]

    def write_byte_data(self, i2c_addr: int, register: int, value: int) -> None:
        """Write one byte to a register."""
        smbus_write(self.adapter, i2c_addr, Size.BYTE_DATA, register, bytes([value]))

    def read_word_data(self, i2c_addr: int, register: int) -> int:
        """Read a word; the low byte is first on the wire."""
        data = smbus_read(self.adapter, i2c_addr, Size.WORD_DATA, register, 2)
        return int.from_bytes(data, "little")

    def write_word_data(self, i2c_addr: int, register: int, value: int) -> None:
        """Write a word; the low byte is first on the wire."""
        word = value.to_bytes(2, "little")
        smbus_write(self.adapter, i2c_addr, Size.WORD_DATA, register, word)

    def process_call(self, i2c_addr: int, register: int, value: int) -> int:
        """Write a word and read a word."""
        word = value.to_bytes(2, "little")
        return int.from_bytes(process_call(self.adapter, i2c_addr, register, word), "little")

    def read_i2c_block_data(self, i2c_addr: int, register: int, length: int) -> list[int]:
        """Read up to 32 bytes, beginning at a register."""
        if length > BLOCK_MAX:
            raise ValueError("Desired block length over 32 bytes")
        return list(smbus_read(self.adapter, i2c_addr, Size.I2C_BLOCK_DATA, register, length))

    def write_i2c_block_data(self, i2c_addr: int, register: int, data: Sequence[int]) -> None:
        """Write up to 32 bytes, beginning at a register."""
        if len(data) > BLOCK_MAX:
            raise ValueError("Data length cannot exceed 32 bytes")
        smbus_write(self.adapter, i2c_addr, Size.I2C_BLOCK_DATA, register, bytes(data))

    def i2c_rdwr(self, *i2c_msgs: RdwrMessage) -> None:
        """Run messages in one transfer; the messages' own buffers receive what is read."""
        received = self.adapter.transfer([_message(m) for m in i2c_msgs])
        reads = [m for m in i2c_msgs if m.flags & I2C_M_RD]
        for message, data in zip(reads, received, strict=True):
            ctypes.memmove(message.buf, data, len(data))


def _message(m: RdwrMessage) -> Message:
    others = m.flags & ~I2C_M_RD
    if m.flags & I2C_M_RD:
        return Message(m.addr, length=m.len, read=True, flags=others)
    return Message(m.addr, ctypes.string_at(m.buf, m.len), flags=others)


class ModelSpiDev:
    """The interface of ``spidev.SpiDev`` to one chip select of a controller."""

    def __init__(self, controller: SpiController, chip_select: int = 0) -> None:
        self.controller = controller
        self.chip_select = chip_select
        self._speed_hz = 500_000
        self._mode = 0
        self._bits_per_word = 8

    @property
    def mode(self) -> int:
        """SPI mode 0..3."""
        return self._mode

    @mode.setter
    def mode(self, mode: int) -> None:
        self.controller.check(mode, self._bits_per_word)
        self._mode = mode

    @property
    def max_speed_hz(self) -> int:
        """The clock in hertz."""
        return self._speed_hz

    @max_speed_hz.setter
    def max_speed_hz(self, speed_hz: int) -> None:
        if speed_hz <= 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self._speed_hz = speed_hz

    @property
    def bits_per_word(self) -> int:
        """The word size in bits; the controller supports 8."""
        return self._bits_per_word

    @bits_per_word.setter
    def bits_per_word(self, bits: int) -> None:
        self.controller.check(self._mode, bits)
        self._bits_per_word = bits

    def close(self) -> None:
        """Do nothing: no node is open."""

    def xfer2(self, values: Sequence[int]) -> list[int]:
        """Exchange bytes in both directions under one chip select."""
        sent = bytes(values)
        return list(self.controller.transfer(self.chip_select, sent, self._mode, self._speed_hz))

    def xfer(self, values: Sequence[int]) -> list[int]:
        """Transfer as `xfer2`: a Pi holds the chip select during one message."""
        return self.xfer2(values)

    def xfer3(self, values: Sequence[int]) -> tuple[int, ...]:
        """Transfer as `xfer2`, but return a tuple."""
        return tuple(self.xfer2(values))

    def writebytes(self, values: Sequence[int]) -> None:
        """Write only."""
        self.xfer2(values)

    def readbytes(self, length: int) -> list[int]:
        """Read only."""
        return self.xfer2([0] * length)
