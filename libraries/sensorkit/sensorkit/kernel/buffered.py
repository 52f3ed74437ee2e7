"""Chips that the kernel samples by itself, many times a second: what its buffer has brought.

A program of the system copies the buffer's records into a FIFO, because a container has no device
nodes. A sample is made of all records since the one before: their mean, and the lowest and the
highest value.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean

from sensorkit.errors import BusError
from sensorkit.kernel.scan import Element, Scan, read_scan
from sensorkit.kernel.sysfs import Source, Value
from sensorkit.measurement import Channel, SampleBuilder

FOLDER = Path("/run/piimage/buffers")
"""Where a container has the FIFO of each sensor with a rate, by the sensor's name."""
_CAPACITY = 1 << 20
"""Bytes that wait in the FIFO until they are read: the most that the kernel lets anybody have."""
_STATISTICS = ("", "minimum", "maximum")
"""What is published of a channel: the mean, which has the name of the channel alone, and these."""


class Fifo:
    """The reading end of a FIFO, which is opened when it is there, and never waited for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None
        self._rest = b""

    def records(self, size: int) -> list[bytes]:
        """Return the records of `size` bytes that have come. Raises `BusError` without a FIFO."""
        data = self._rest + b"".join(self._chunks(self._opened()))
        whole = len(data) // size * size
        self._rest = data[whole:]
        return [data[start : start + size] for start in range(0, whole, size)]

    def _opened(self) -> int:
        if self._fd is None:
            try:
                fd = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError as error:
                raise BusError(f"{self._path}: {error.strerror}") from error
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _CAPACITY)
            # What an earlier reader has left may begin in the middle of a record.
            for _ in self._chunks(fd):
                pass
            self._fd = fd
        return self._fd

    @staticmethod
    def _chunks(fd: int) -> Iterator[bytes]:
        """Yield what is there; nothing if nobody has the writing end."""
        try:
            while data := os.read(fd, _CAPACITY):
                yield data
        except BlockingIOError:
            return


@dataclass(frozen=True)
class _Column:
    """A channel of the records: its number, its unit, and what is published of it."""

    element: Element
    value: Value
    channels: tuple[Channel, ...]


class Buffered:
    """The buffer of the IIO device in the folder `device`, whose raw values are among `sources`.

    Raises `BusError` if the device has no buffer, or nothing in it has a unit.
    """

    def __init__(self, device: Path, sources: Iterable[Source], fifo: Fifo) -> None:
        self._scan: Scan = read_scan(device)
        self._fifo = fifo
        self._columns = tuple(_columns(self._scan, sources))
        if not self._columns:
            raise BusError("the buffer of the driver has no value that this service can read")

    @property
    def channels(self) -> tuple[Channel, ...]:
        """What is published."""
        return tuple(channel for column in self._columns for channel in column.channels)

    def add_to(self, sample: SampleBuilder) -> None:
        """Add what came since the last call. Raises `BusError` if nothing did."""
        records = self._fifo.records(self._scan.size)
        if not records:
            raise BusError("the kernel's buffer has no new values; check wiring and power")
        for column in self._columns:
            raw = [column.element.of(record) for record in records]
            # By their values: a scale may be negative.
            ends = sorted((min(raw), max(raw)), key=column.value.of)
            for channel, number in zip(column.channels, (fmean(raw), *ends), strict=True):
                sample.add(channel, partial(column.value.of, number))


def _columns(scan: Scan, sources: Iterable[Source]) -> Iterator[_Column]:
    for source in sources:
        value = source.read
        if not isinstance(value, Value):
            continue
        element = scan.elements.get(value.path.name.removesuffix("_raw"))
        if element is not None:
            channels = tuple(_channel(source.channel, name) for name in _STATISTICS)
            yield _Column(element, value, channels)


def _channel(channel: Channel, statistic: str) -> Channel:
    # A mean of many values needs no second sample that confirms it.
    quantity = replace(channel.quantity, jump=None)
    if not statistic:
        return replace(channel, quantity=quantity)
    labels = (*channel.labels, ("statistic", statistic))
    return replace(channel, quantity=quantity, title=f"{channel.title} {statistic}", labels=labels)
