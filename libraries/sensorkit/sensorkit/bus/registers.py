"""Register access over I2C (SMBus calls or I2C_RDWR) and SPI: each call is one transfer.

Every failure is a `BusError`, whose message says what the errno means on a Pi.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from sensorkit.errors import BusError

if TYPE_CHECKING:
    from smbus2 import i2c_msg

Opened = TypeVar("Opened")
Result = TypeVar("Result")

_GONE = frozenset({errno.ENODEV, errno.EBADF, errno.ESHUTDOWN, errno.EIO})
_HINTS = {
    errno.EREMOTEIO: "no chip answers; check wiring, power and address",
    errno.ENXIO: "no chip answers; check wiring, power and address",
    errno.ETIMEDOUT: "the bus hangs; SDA or SCL is held low",
    errno.EAGAIN: "another master uses the bus",
    errno.ENODEV: "no such bus or chip",
    errno.ENOENT: "no such bus; is its overlay applied (boot: { overlays: [i2c1] } or [spi0])?",
    errno.EACCES: "no permission; the service needs this device node",
    errno.EPERM: "no permission; the service needs this device node",
    errno.EBUSY: "a kernel driver uses this address",
    errno.EOPNOTSUPP: "the bus does not support this transfer",
}


class I2cBus(Protocol):
    """The calls of ``smbus2.SMBus`` that drivers use."""

    def read_i2c_block_data(self, i2c_addr: int, register: int, length: int) -> list[int]:
        """Read up to 32 bytes, beginning at a register."""
        ...

    def write_i2c_block_data(self, i2c_addr: int, register: int, data: Sequence[int]) -> None:
        """Write up to 32 bytes, beginning at a register."""
        ...

    def read_word_data(self, i2c_addr: int, register: int) -> int:
        """Read a word; the low byte is first on the wire."""
        ...

    def write_byte_data(self, i2c_addr: int, register: int, value: int) -> None:
        """Write one byte to a register."""
        ...

    def write_word_data(self, i2c_addr: int, register: int, value: int) -> None:
        """Write a word; the low byte is first on the wire."""
        ...

    def i2c_rdwr(self, *i2c_msgs: i2c_msg) -> None:
        """Send and receive messages in one transfer."""
        ...


class SpiDevice(Protocol):
    """The call of ``spidev.SpiDev`` that drivers use."""

    def xfer2(self, values: Sequence[int]) -> Sequence[int]:
        """Exchange bytes in both directions under one chip select."""
        ...


class Registers(Protocol):
    """The registers of a chip, one byte each."""

    def read(self, register: int, length: int) -> bytes:
        """Read `length` bytes from `register` on in one transfer. Raises `BusError`."""
        ...

    def write(self, register: int, *values: int) -> None:
        """Write values from `register` on in one transfer. Raises `BusError`."""
        ...


class WordRegisters(Protocol):
    """The registers of a chip, 16 bits each; the high byte is first on the wire."""

    def read_word(self, register: int) -> int:
        """Read one register, 0..65535, in one transfer. Raises `BusError`."""
        ...

    def write_word(self, register: int, value: int) -> None:
        """Write one register in one transfer. Raises `BusError`."""
        ...


class Line(Generic[Opened]):
    """A bus that its first use opens, and that is opened again after its device node went away.

    `name` is for messages. `open_` raises OSError or `BusError` if there is no bus.
    """

    def __init__(self, name: str, open_: Callable[[], Opened]) -> None:
        self.name = name
        self._open = open_
        self._opened: Opened | None = None

    def run(self, operation: Callable[[Opened], Result]) -> Result:
        """Run `operation` on the open bus. Raises `BusError` in place of OSError."""
        try:
            if self._opened is None:
                self._opened = self._open()
            return operation(self._opened)
        except OSError as error:
            if error.errno in _GONE:
                self._opened = None
            raise BusError(f"{self.name}: {explain(error)}") from error


def explain(error: OSError) -> str:
    """Return what an OSError of a bus means, with the name of its errno."""
    number = error.errno or 0
    name = errno.errorcode.get(number, str(number))
    return f"{_HINTS.get(number, error.strerror or 'failed')} ({name})"


class SmbusRegisters:
    """Byte and word registers by SMBus calls, which every I2C adapter supports."""

    def __init__(self, line: Line[I2cBus], address: int) -> None:
        self._line = line
        self._address = address

    def read(self, register: int, length: int) -> bytes:
        """Read `length` bytes, at most 32, as an I2C block. Raises `BusError`."""
        address = self._address
        data = self._line.run(lambda b: b.read_i2c_block_data(address, register, length))
        return _complete(bytes(data), length, self._line.name)

    def write(self, register: int, *values: int) -> None:
        """Write one byte, or several as an I2C block. Raises `BusError`."""
        address = self._address
        if len(values) == 1:
            self._line.run(lambda b: b.write_byte_data(address, register, values[0]))
        else:
            self._line.run(lambda b: b.write_i2c_block_data(address, register, list(values)))

    def read_word(self, register: int) -> int:
        """Read a word and swap its bytes: SMBus sends the low one first. Raises `BusError`."""
        word = self._line.run(lambda b: b.read_word_data(self._address, register))
        return _swapped(word)

    def write_word(self, register: int, value: int) -> None:
        """Write a word with its bytes swapped: SMBus sends the low one first."""
        self._line.run(lambda b: b.write_word_data(self._address, register, _swapped(value)))


class RdwrRegisters:
    """Registers by I2C_RDWR messages, which may be longer than 32 bytes, on plain I2C."""

    def __init__(self, line: Line[I2cBus], address: int) -> None:
        self._line = line
        self._address = address

    def read(self, register: int, length: int) -> bytes:
        """Write the register's number, then read after a repeated start. Raises `BusError`."""
        from smbus2 import i2c_msg  # noqa: PLC0415 -- tests and SPI services run without it

        request = i2c_msg.write(self._address, [register])
        response = i2c_msg.read(self._address, length)
        self._line.run(lambda b: b.i2c_rdwr(request, response))
        return _complete(bytes(response), length, self._line.name)

    def write(self, register: int, *values: int) -> None:
        """Write one message. Raises `BusError`."""
        from smbus2 import i2c_msg  # noqa: PLC0415 -- as above

        message = i2c_msg.write(self._address, [register, *values])
        self._line.run(lambda b: b.i2c_rdwr(message))

    def read_word(self, register: int) -> int:
        """Read a word, high byte first. Raises `BusError`."""
        return int.from_bytes(self.read(register, 2), "big")

    def write_word(self, register: int, value: int) -> None:
        """Write a word, high byte first. Raises `BusError`."""
        self.write(register, *value.to_bytes(2, "big"))


class SpiRegisters:
    """Byte registers over SPI as in Bosch chips: bit 7 of the register means read."""

    def __init__(self, line: Line[SpiDevice]) -> None:
        self._line = line

    def read(self, register: int, length: int) -> bytes:
        """Read `length` bytes from `register` on. Raises `BusError`."""
        request = [register | 0x80, *bytes(length)]
        data = self._line.run(lambda device: device.xfer2(request))
        return _complete(bytes(data)[1:], length, self._line.name)

    def write(self, register: int, *values: int) -> None:
        """Write (register, value) pairs: a write does not advance. Raises `BusError`."""
        pairs = [b for i, v in enumerate(values) for b in ((register + i) & 0x7F, v)]
        self._line.run(lambda device: device.xfer2(pairs))


def _swapped(word: int) -> int:
    return (word >> 8 | word << 8) & 0xFFFF


def _complete(data: bytes, length: int, name: str) -> bytes:
    if len(data) != length:
        raise BusError(f"{name}: received {len(data)} of {length} bytes")
    return data
