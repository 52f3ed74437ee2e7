"""Register access over I2C (SMBus calls or I2C_RDWR) and SPI, one transfer a call.

Every failure is a `BusError` whose message says what the errno means on a Pi.
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
    errno.EREMOTEIO: "no chip answers there; check wiring, power and address",
    errno.ENXIO: "no chip answers there; check wiring, power and address",
    errno.ETIMEDOUT: "the bus hangs; SDA or SCL is held low",
    errno.EAGAIN: "the bus is taken by another master",
    errno.ENODEV: "no such bus or chip",
    errno.ENOENT: "no such bus; is its overlay applied (boot: { overlays: [i2c1] } or [spi0])?",
    errno.EACCES: "no permission; the service needs this device node",
    errno.EPERM: "no permission; the service needs this device node",
    errno.EBUSY: "a kernel driver has this address",
    errno.EOPNOTSUPP: "this bus cannot do such a transfer",
}


class I2cBus(Protocol):
    """The calls of ``smbus2.SMBus`` that drivers use."""

    def read_i2c_block_data(self, i2c_addr: int, register: int, length: int) -> list[int]:
        """Up to 32 bytes from a register on."""
        ...

    def write_i2c_block_data(self, i2c_addr: int, register: int, data: Sequence[int]) -> None:
        """Up to 32 bytes after a register."""
        ...

    def read_word_data(self, i2c_addr: int, register: int) -> int:
        """A word, low byte first on the wire."""
        ...

    def write_byte_data(self, i2c_addr: int, register: int, value: int) -> None:
        """One byte to a register."""
        ...

    def write_word_data(self, i2c_addr: int, register: int, value: int) -> None:
        """A word, low byte first on the wire."""
        ...

    def i2c_rdwr(self, *i2c_msgs: i2c_msg) -> None:
        """Messages in one transfer."""
        ...


class SpiDevice(Protocol):
    """The call of ``spidev.SpiDev`` that drivers use."""

    def xfer2(self, values: Sequence[int]) -> Sequence[int]:
        """Full duplex under one chip select."""
        ...


class Registers(Protocol):
    """A chip's registers of one byte each."""

    def read(self, register: int, length: int) -> bytes:
        """`length` bytes from `register` on in one transfer. Raises `BusError`."""
        ...

    def write(self, register: int, *values: int) -> None:
        """Values from `register` on in one transfer. Raises `BusError`."""
        ...


class WordRegisters(Protocol):
    """A chip's registers of 16 bits each, high byte first on the wire."""

    def read_word(self, register: int) -> int:
        """One register, 0..65535, in one transfer. Raises `BusError`."""
        ...

    def write_word(self, register: int, value: int) -> None:
        """One register in one transfer. Raises `BusError`."""
        ...


class Line(Generic[Opened]):
    """A bus that is opened when it is first used, and again when its device node went away.

    `name` is for messages. `open_` raises OSError or `BusError` while there is no bus.
    """

    def __init__(self, name: str, open_: Callable[[], Opened]) -> None:
        self.name = name
        self._open = open_
        self._opened: Opened | None = None

    def run(self, operation: Callable[[Opened], Result]) -> Result:
        """Do something with the open bus. Raises `BusError` in place of OSError."""
        try:
            if self._opened is None:
                self._opened = self._open()
            return operation(self._opened)
        except OSError as error:
            if error.errno in _GONE:
                self._opened = None
            raise BusError(f"{self.name}: {explain(error)}") from error


def explain(error: OSError) -> str:
    """An OSError of a bus in words, with its errno's name."""
    number = error.errno or 0
    name = errno.errorcode.get(number, str(number))
    return f"{_HINTS.get(number, error.strerror or 'failed')} ({name})"


class SmbusRegisters:
    """Byte registers and word registers by SMBus calls, which every I2C adapter has."""

    def __init__(self, line: Line[I2cBus], address: int) -> None:
        self._line = line
        self._address = address

    def read(self, register: int, length: int) -> bytes:
        """`length` bytes, at most 32, as an I2C block. Raises `BusError`."""
        address = self._address
        data = self._line.run(lambda b: b.read_i2c_block_data(address, register, length))
        return _complete(bytes(data), length, self._line.name)

    def write(self, register: int, *values: int) -> None:
        """One byte, or several as an I2C block. Raises `BusError`."""
        address = self._address
        if len(values) == 1:
            self._line.run(lambda b: b.write_byte_data(address, register, values[0]))
        else:
            self._line.run(lambda b: b.write_i2c_block_data(address, register, list(values)))

    def read_word(self, register: int) -> int:
        """SMBus words go low byte first: swapped here. Raises `BusError`."""
        word = self._line.run(lambda b: b.read_word_data(self._address, register))
        return _swapped(word)

    def write_word(self, register: int, value: int) -> None:
        """SMBus words go low byte first: swapped here. Raises `BusError`."""
        self._line.run(lambda b: b.write_word_data(self._address, register, _swapped(value)))


class RdwrRegisters:
    """Registers by I2C_RDWR messages: longer than 32 bytes, on adapters with plain I2C."""

    def __init__(self, line: Line[I2cBus], address: int) -> None:
        self._line = line
        self._address = address

    def read(self, register: int, length: int) -> bytes:
        """The register's number, a repeated start, `length` bytes. Raises `BusError`."""
        from smbus2 import i2c_msg  # noqa: PLC0415 -- tests and SPI services run without it

        answer = i2c_msg.read(self._address, length)
        ask = i2c_msg.write(self._address, [register])
        self._line.run(lambda b: b.i2c_rdwr(ask, answer))
        return _complete(bytes(answer), length, self._line.name)

    def write(self, register: int, *values: int) -> None:
        """One message. Raises `BusError`."""
        from smbus2 import i2c_msg  # noqa: PLC0415 -- as above

        message = i2c_msg.write(self._address, [register, *values])
        self._line.run(lambda b: b.i2c_rdwr(message))

    def read_word(self, register: int) -> int:
        """High byte first. Raises `BusError`."""
        return int.from_bytes(self.read(register, 2), "big")

    def write_word(self, register: int, value: int) -> None:
        """High byte first. Raises `BusError`."""
        self.write(register, *value.to_bytes(2, "big"))


class SpiRegisters:
    """Byte registers over SPI as Bosch chips have them: bit 7 of the register says read."""

    def __init__(self, line: Line[SpiDevice]) -> None:
        self._line = line

    def read(self, register: int, length: int) -> bytes:
        """`length` bytes from `register` on. Raises `BusError`."""
        request = [register | 0x80, *bytes(length)]
        data = self._line.run(lambda device: device.xfer2(request))
        return _complete(bytes(data)[1:], length, self._line.name)

    def write(self, register: int, *values: int) -> None:
        """(register, value) pairs, for a write does not run on. Raises `BusError`."""
        pairs = [b for i, v in enumerate(values) for b in ((register + i) & 0x7F, v)]
        self._line.run(lambda device: device.xfer2(pairs))


def _swapped(word: int) -> int:
    return (word >> 8 | word << 8) & 0xFFFF


def _complete(data: bytes, length: int, name: str) -> bytes:
    if len(data) != length:
        raise BusError(f"{name}: {len(data)} of {length} bytes came")
    return data
