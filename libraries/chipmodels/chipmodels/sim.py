"""Models for the kernel module sensor-sim, to which the kernel's drivers bind as to chips.

kernel-modules/sensor-sim/sensor-sim.h defines the protocol of ``/dev/sensor-sim``. A write to
``new_device`` returns after the driver has used its chip, so the thread that answers must not make
it.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from chipmodels.adapter import Message

I2C, SPI = 1, 2
READ, RELEASE = 1, 2
BYTES_MAX = 65536
NODE = Path("/dev/sensor-sim")

_REQUEST = struct.Struct("<IBBHHHI")
_SEGMENT = struct.Struct("<HHI")
_REPLY = struct.Struct("<II")
_REQUEST_MAX = _REQUEST.size + 4096 * _SEGMENT.size + BYTES_MAX


class I2cTransfers(Protocol):
    """The chips on the I2C bus, such as `chipmodels.adapter.I2cAdapter`."""

    def transfer(self, messages: Sequence[Message]) -> list[bytes]:
        """Run one transfer and return the bytes of each read. Raises OSError."""
        ...


class SpiTransfers(Protocol):
    """The chips on the SPI bus, such as `chipmodels.adapter.SpiController`."""

    def transfer(self, chip_select: int, data: bytes, mode: int, speed_hz: int = ...) -> bytes:
        """Send `data` under a chip select and return the response. Raises OSError."""
        ...


@dataclass(frozen=True)
class Request:
    """One transfer: the messages of I2C, or the segments of SPI.

    `sent` has the bytes of each SPI segment, `releases` whether it releases chip select.
    """

    number: int
    kind: int
    address: int
    messages: tuple[Message, ...] = ()
    sent: tuple[bytes, ...] = ()
    releases: tuple[bool, ...] = ()
    mode: int = 0
    speed_hz: int = 0


def decode(data: bytes) -> Request:
    """Parse a request. Raises ValueError for one that the module would not send."""
    try:
        number, kind, _, count, address, mode, speed = _REQUEST.unpack_from(data)
        rows = [_SEGMENT.unpack_from(data, _REQUEST.size + _SEGMENT.size * n) for n in range(count)]
    except struct.error as error:
        raise ValueError(f"the request is cut short: {error}") from error
    parts = _Parts(data, _REQUEST.size + _SEGMENT.size * count)
    if kind == I2C:
        messages = tuple(parts.message(*row) for row in rows)
        found = Request(number, kind, address, messages)
    elif kind == SPI:
        sent = tuple(parts.take(length) for _, _, length in rows)
        releases = tuple(bool(flags & RELEASE) for flags, _, _ in rows)
        found = Request(number, kind, address, (), sent, releases, mode, speed)
    else:
        raise ValueError(f"the request is of the unknown kind {kind}")
    parts.end()
    return found


@dataclass
class _Parts:
    """What the segments send, one after the other."""

    data: bytes
    position: int

    def take(self, length: int) -> bytes:
        end = self.position + length
        if end > len(self.data):
            raise ValueError("the request has less data than its segments say")
        part, self.position = self.data[self.position : end], end
        return part

    def message(self, flags: int, address: int, length: int) -> Message:
        if flags & READ:
            return Message(address, length=length, read=True)
        return Message(address, self.take(length))

    def end(self) -> None:
        if self.position != len(self.data):
            raise ValueError("the request has more data than its segments say")


def encode(number: int, data: bytes, error: int = 0) -> bytes:
    """Return the reply to request `number`: what was received, or a positive errno."""
    return _REPLY.pack(number, error) + (b"" if error else data)


@dataclass(frozen=True)
class Buses:
    """The models on both buses; None for a bus without any."""

    i2c: I2cTransfers | None = None
    spi: SpiTransfers | None = None

    def reply(self, request: Request) -> bytes:
        """Return the reply; an OSError of a bus becomes its errno."""
        try:
            return encode(request.number, b"".join(self._received(request)))
        except OSError as error:
            return encode(request.number, b"", error.errno or errno.EIO)

    def _received(self, request: Request) -> Iterator[bytes]:
        if request.kind == SPI:
            yield from self._clocked(request)
        elif self.i2c is None:
            raise OSError(errno.EREMOTEIO, os.strerror(errno.EREMOTEIO))
        else:
            yield from self.i2c.transfer(request.messages)

    def _clocked(self, request: Request) -> Iterator[bytes]:
        """Give what comes back: segments are one transfer until chip select is released."""
        held = b""
        for data, released in zip(request.sent, request.releases, strict=True):
            held += data
            if released:
                yield self._hold(request, held)
                held = b""
        if held:
            yield self._hold(request, held)

    def _hold(self, request: Request, data: bytes) -> bytes:
        if self.spi is None:
            return b"\xff" * len(data)
        if not request.speed_hz:
            return self.spi.transfer(request.address, data, request.mode)
        return self.spi.transfer(request.address, data, request.mode, request.speed_hz)


class SimDevice:
    """The open device: answers one request at a time. Raises OSError when it cannot be opened."""

    def __init__(self, buses: Buses, node: Path = NODE) -> None:
        self._buses = buses
        self._file = os.open(node, os.O_RDWR | os.O_CLOEXEC)

    def fileno(self) -> int:
        """For select."""
        return self._file

    def answer(self) -> None:
        """Take one request and answer it; a request that has timed out is let go."""
        request = decode(os.read(self._file, _REQUEST_MAX))
        try:
            os.write(self._file, self._buses.reply(request))
        except FileNotFoundError:
            return

    def close(self) -> None:
        """Leave the buses: from now on nobody answers there."""
        os.close(self._file)


def bus_number(name: str = "sensor-sim", devices: Path = Path("/sys/bus/i2c/devices")) -> int:
    """Return the number of the module's I2C bus. Raises FileNotFoundError without the module."""
    for path in sorted(devices.glob("i2c-*")):
        if (path / "name").read_text().strip() == name:
            return int(path.name.partition("-")[2])
    raise FileNotFoundError(errno.ENOENT, "the module sensor-sim is not loaded", str(devices))
