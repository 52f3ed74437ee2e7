"""A few SMBus calls on a device node, with the standard library only."""

from __future__ import annotations

import ctypes
import fcntl
import os
from types import TracebackType

_SLAVE_FORCE, _SMBUS = 0x0706, 0x0720
_WRITE, _READ = 0, 1
_BYTE_DATA, _WORD_DATA = 2, 3


class _Request(ctypes.Structure):
    """struct i2c_smbus_ioctl_data of linux/i2c-dev.h."""

    _fields_ = (
        ("read_write", ctypes.c_uint8),
        ("command", ctypes.c_uint8),
        ("size", ctypes.c_uint32),
        ("data", ctypes.c_void_p),
    )


class SmbusDevice:
    """An open I2C device node. Every call may raise OSError."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDWR)

    def __enter__(self) -> SmbusDevice:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        os.close(self._fd)

    def read_byte_data(self, i2c_addr: int, register: int) -> int:
        """Read one byte of a register."""
        return self._transfer(i2c_addr, _READ, register, _BYTE_DATA, 0) & 0xFF

    def write_byte_data(self, i2c_addr: int, register: int, value: int) -> None:
        """Write one byte to a register."""
        self._transfer(i2c_addr, _WRITE, register, _BYTE_DATA, value)

    def write_word_data(self, i2c_addr: int, register: int, value: int) -> None:
        """Write a word; the low byte is first on the wire."""
        self._transfer(i2c_addr, _WRITE, register, _WORD_DATA, value)

    def _transfer(self, address: int, direction: int, command: int, size: int, value: int) -> int:
        fcntl.ioctl(self._fd, _SLAVE_FORCE, address)
        data = ctypes.create_string_buffer(value.to_bytes(2, "little"), 34)
        request = _Request(direction, command, size, ctypes.addressof(data))
        fcntl.ioctl(self._fd, _SMBUS, request)
        return int.from_bytes(data.raw[:2], "little")
