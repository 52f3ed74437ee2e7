"""SMBus transactions made of I2C messages, as drivers/i2c/i2c-core-smbus.c emulates them."""

from __future__ import annotations

import errno
import os
from enum import IntEnum

from chipmodels.adapter import I2cAdapter, Message

BLOCK_MAX = 32


class Size(IntEnum):
    """The transaction, numbered as in linux/i2c.h."""

    QUICK = 0
    BYTE = 1
    BYTE_DATA = 2
    WORD_DATA = 3
    PROC_CALL = 4
    BLOCK_DATA = 5
    I2C_BLOCK_BROKEN = 6
    BLOCK_PROC_CALL = 7
    I2C_BLOCK_DATA = 8


_READ_LENGTH = {Size.BYTE: 1, Size.BYTE_DATA: 1, Size.WORD_DATA: 2, Size.PROC_CALL: 2}


def smbus_read(adapter: I2cAdapter, address: int, size: Size, command: int, length: int) -> bytes:
    """Run a reading transaction; its data bytes as they came over the wire.

    `length` counts only for I2C_BLOCK_DATA. Raises OSError: EOPNOTSUPP for block reads whose
    length comes from the chip, which i2c-bcm2835 does not have.
    """
    read = Message(address, length=_READ_LENGTH.get(size, length), read=True)
    if size is Size.QUICK:
        return b"".join(adapter.transfer([Message(address, length=0, read=True)]))
    if size is Size.BYTE:
        return adapter.transfer([read])[0]
    if size in (Size.BYTE_DATA, Size.WORD_DATA, Size.I2C_BLOCK_DATA):
        _check_length(read.length)
        return adapter.transfer([Message(address, bytes([command])), read])[0]
    raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))


def smbus_write(adapter: I2cAdapter, address: int, size: Size, command: int, data: bytes) -> None:
    """Run a writing transaction with `data` as it goes over the wire. Raises OSError."""
    if size is Size.QUICK:
        adapter.transfer([Message(address)])
    elif size in (Size.BYTE, Size.BYTE_DATA, Size.WORD_DATA, Size.I2C_BLOCK_DATA):
        _check_length(len(data) + 1)
        adapter.transfer([Message(address, bytes([command]) + data)])
    elif size is Size.BLOCK_DATA:
        _check_length(len(data) + 1)
        adapter.transfer([Message(address, bytes([command, len(data)]) + data)])
    else:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))


def process_call(adapter: I2cAdapter, address: int, command: int, word: bytes) -> bytes:
    """Write a word and read one in the same transfer. Raises OSError."""
    messages = [Message(address, bytes([command]) + word), Message(address, length=2, read=True)]
    return adapter.transfer(messages)[0]


def _check_length(length: int) -> None:
    if not 0 < length <= BLOCK_MAX + 1:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
