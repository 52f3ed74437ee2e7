"""SMBus transactions as I2C messages, as drivers/i2c/i2c-core-smbus.c emulates them."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from chipmodels.adapter import Message

BLOCK_MAX = 32


class Transfers(Protocol):
    """A bus that runs messages: an adapter, perhaps with error checking."""

    def transfer(self, messages: Sequence[Message]) -> list[bytes]:
        """Run one transfer and return the bytes of each read. Raises OSError."""
        ...


class Size(IntEnum):
    """The transactions, with the numbers of linux/i2c.h."""

    QUICK = 0
    BYTE = 1
    BYTE_DATA = 2
    WORD_DATA = 3
    PROC_CALL = 4
    BLOCK_DATA = 5
    I2C_BLOCK_BROKEN = 6
    BLOCK_PROC_CALL = 7
    I2C_BLOCK_DATA = 8


_READ_LENGTH = {Size.BYTE: 1, Size.BYTE_DATA: 1, Size.WORD_DATA: 2}


def smbus_read(bus: Transfers, address: int, size: Size, command: int, length: int) -> bytes:
    """Run a reading transaction and return its data bytes in the order of the wire.

    `length` counts only for I2C_BLOCK_DATA. Raises OSError: EOPNOTSUPP for block reads whose
    length comes from the chip, which i2c-bcm2835 does not have.
    """
    read = Message(address, length=_READ_LENGTH.get(size, length), read=True)
    if size is Size.QUICK:
        return b"".join(bus.transfer([Message(address, length=0, read=True)]))
    if size is Size.BYTE:
        return bus.transfer([read])[0]
    if size in (Size.BYTE_DATA, Size.WORD_DATA, Size.I2C_BLOCK_DATA):
        _check_length(read.length)
        return bus.transfer([Message(address, bytes([command])), read])[0]
    raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))


def smbus_write(bus: Transfers, address: int, size: Size, command: int, data: bytes) -> None:
    """Run a writing transaction with `data` in the order of the wire. Raises OSError."""
    if size is Size.QUICK:
        bus.transfer([Message(address)])
    elif size in (Size.BYTE, Size.BYTE_DATA, Size.WORD_DATA, Size.I2C_BLOCK_DATA):
        _check_length(len(data))
        bus.transfer([Message(address, bytes([command]) + data)])
    elif size is Size.BLOCK_DATA:
        _check_length(len(data))
        bus.transfer([Message(address, bytes([command, len(data)]) + data)])
    else:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))


def process_call(bus: Transfers, address: int, command: int, word: bytes) -> bytes:
    """Write a word and read one in the same transfer. Raises OSError."""
    messages = [Message(address, bytes([command]) + word), Message(address, length=2, read=True)]
    return bus.transfer(messages)[0]


def _check_length(length: int) -> None:
    if length > BLOCK_MAX:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))


@dataclass(frozen=True)
class PacketErrorChecking:
    """SMBus PEC in software, as by i2c-core on a Pi: one more byte in each transaction.

    A chip without PEC takes it for data, and what it gives is none: reads fail with EBADMSG.
    """

    bus: Transfers

    def transfer(self, messages: Sequence[Message]) -> list[bytes]:
        """Run one transfer with its check byte. Raises OSError."""
        *first, last = messages
        covered = b"".join(_wire(message) for message in first)
        if not last.read:
            check = crc8(covered + _wire(last))
            return self.bus.transfer([*first, Message(last.address, last.data + bytes([check]))])
        longer = Message(last.address, length=last.length + 1, read=True)
        (data,) = self.bus.transfer([*first, longer])
        if crc8(covered + _wire(last) + data[:-1]) != data[-1]:
            raise OSError(errno.EBADMSG, os.strerror(errno.EBADMSG))
        return [data[:-1]]


def _wire(message: Message) -> bytes:
    return bytes([message.address << 1 | message.read]) + message.data


def crc8(data: bytes) -> int:
    """Return the check byte (SMBus 3.1 section 6.4.1.3): x^8 + x^2 + x + 1, from 0."""
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value << 1 ^ 0x07 if value & 0x80 else value << 1) & 0xFF
    return value
