"""An I2C adapter and an SPI controller that behave as those of a Raspberry Pi under Linux.

They refuse what the real ones refuse, with the same errno, so that a test that passes here does
not fail on the board.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping, MutableSequence, Sequence
from dataclasses import dataclass, field

from chipmodels.target import I2cTarget, Nack, SpiTarget, Stretched

I2C_MESSAGES_MAX = 42  # I2C_RDWR_IOCTL_MAX_MSGS of linux/i2c-dev.h
I2C_MESSAGE_BYTES_MAX = 8192  # i2cdev_ioctl_rdwr of drivers/i2c/i2c-dev.c
I2C_TIMEOUT_SECONDS = 1.0  # HZ, which i2c_register_adapter of drivers/i2c/i2c-core-base.c sets
SPI_BUFFER_BYTES = 4096  # the bufsiz parameter of drivers/spi/spidev.c
SPI_MODES = 0x3 | 0x4 | 0x40 | 0x10  # CPHA CPOL CS_HIGH NO_CS 3WIRE of spi-bcm2835.c


@dataclass(frozen=True)
class Message:
    """One I2C message: a write of `data`, or a read of `length` bytes."""

    address: int
    data: bytes = b""
    length: int = 0
    read: bool = False
    flags: int = 0
    """The flags of struct i2c_msg other than I2C_M_RD; this controller supports none."""


@dataclass(frozen=True)
class I2cTransfer:
    """One transfer in the log: its messages from start to stop, and its errno or 0."""

    messages: tuple[Message, ...]
    error: int = 0


@dataclass(frozen=True)
class SpiTransfer:
    """One transfer in the log, under one chip select."""

    sent: bytes
    received: bytes


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@dataclass
class I2cAdapter:
    """A bus with chips at 7-bit addresses, driven by a bcm2835 controller.

    drivers/i2c/busses/i2c-bcm2835.c accepts one read, which must be the last message of a transfer
    (else EOPNOTSUPP). It reports an address without a chip as EREMOTEIO, and a clock that stays low
    as ETIMEDOUT after `timeout_seconds`, for which `wait` is called. It ignores the flags of a
    message, and would use the wrong chip for a 10-bit address; here such flags are refused.
    """

    chips: Mapping[int, I2cTarget]
    log: MutableSequence[I2cTransfer] = field(default_factory=list)
    wait: Callable[[float], None] | None = None
    timeout_seconds: float = I2C_TIMEOUT_SECONDS

    def transfer(self, messages: Sequence[Message]) -> list[bytes]:
        """Run one transfer and return the bytes of each read. Raises OSError as the kernel does."""
        try:
            self._check(messages)
            received = [self._run(message) for message in messages]
        except OSError as error:
            self.log.append(I2cTransfer(tuple(messages), error.errno or 0))
            raise
        self.log.append(I2cTransfer(tuple(messages)))
        return [data for data, message in zip(received, messages, strict=True) if message.read]

    def _check(self, messages: Sequence[Message]) -> None:
        if not 0 < len(messages) <= I2C_MESSAGES_MAX:
            raise _error(errno.EINVAL)
        if any(max(len(m.data), m.length) > I2C_MESSAGE_BYTES_MAX for m in messages):
            raise _error(errno.EINVAL)
        if any(m.flags for m in messages):
            raise _error(errno.EOPNOTSUPP)
        if any(not 0 <= m.address <= 0x7F for m in messages):
            raise _error(errno.EINVAL)
        if any(message.read for message in messages[:-1]):
            raise _error(errno.EOPNOTSUPP)

    def _run(self, message: Message) -> bytes:
        chip = self.chips.get(message.address)
        if chip is None:
            raise _error(errno.EREMOTEIO)
        try:
            if message.read:
                return chip.i2c_read(message.length)
            chip.i2c_write(message.data)
        except Nack:
            raise _error(errno.EREMOTEIO) from None
        except Stretched:
            if self.wait is not None:
                self.wait(self.timeout_seconds)
            raise _error(errno.ETIMEDOUT) from None
        return b""


@dataclass
class SpiController:
    """A controller with chips at chip selects, which behaves as drivers/spi/spi-bcm2835.c.

    A chip that is clocked faster than its limit answers one bit late.
    """

    chips: Mapping[int, SpiTarget]
    log: MutableSequence[SpiTransfer] = field(default_factory=list)

    def check(self, mode: int, bits_per_word: int) -> None:
        """Raise OSError (EINVAL) for a mode or word size that the controller does not support."""
        if mode & ~SPI_MODES or bits_per_word not in (0, 8):
            raise _error(errno.EINVAL)

    def transfer(self, chip_select: int, data: bytes, mode: int, speed_hz: int = 500_000) -> bytes:
        """Send `data` under one chip select and return the response, 0xFF without a chip."""
        if len(data) > SPI_BUFFER_BYTES:
            raise _error(errno.EMSGSIZE)
        chip = self.chips.get(chip_select)
        received = b"\xff" * len(data) if chip is None else chip.spi_transfer(data, mode & 3)
        if speed_hz > (getattr(chip, "spi_max_hz", None) or speed_hz):
            received = _one_bit_late(received)
        self.log.append(SpiTransfer(data, received))
        return received


def _one_bit_late(data: bytes) -> bytes:
    """Return `data` with every bit one clock late; the idle line is high."""
    if not data:
        return data
    value = int.from_bytes(data, "big") >> 1 | 1 << 8 * len(data) - 1
    return value.to_bytes(len(data), "big")
