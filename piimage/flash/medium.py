"""An open card: direct reads and writes at offsets, with errors that say where."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from piimage.errors import DeviceRefused, PiimageError
from piimage.flash import blockdev
from piimage.flash.opener import FLAGS

BUFFER: Final = 4 << 20
_GONE: Final = frozenset({errno.ENODEV, errno.ENXIO, errno.ENOMEDIUM})
_Call = Callable[[int, Sequence[memoryview], int], int]
_LOCK_SECONDS: Final = 5


def buffer(size: int = BUFFER) -> memoryview:
    """Return memory that begins on a page, as direct I/O wants it."""
    return memoryview(mmap.mmap(-1, size))


@dataclass(frozen=True)
class Medium:
    """A block device (or a file, in tests) that is open for writing by nobody else.

    `sector` is what offsets and sizes are multiples of.
    """

    path: str
    descriptor: int
    size: int
    sector: int
    sequence: int | None

    def read(self, offset: int, into: memoryview) -> None:
        """Fill `into` from the medium itself, not from a cache of the kernel's."""
        self._all("read", os.preadv, offset, into)

    def write(self, offset: int, data: memoryview) -> None:
        """Write `data` past the kernel's cache."""
        self._all("written", os.pwritev, offset, data)

    def flush(self) -> None:
        """Have the device put on its medium what it took so far."""
        try:
            os.fdatasync(self.descriptor)
        except OSError as error:
            raise self._failure(error, "written", 0, self.size) from error

    def same(self) -> None:
        """Raise DeviceRefused ``flash.changed`` if another card was put in meanwhile."""
        try:
            now = (blockdev.size(self.descriptor), blockdev.sequence(self.descriptor))
        except OSError as error:
            raise self._failure(error, "read", 0, self.size) from error
        if now != (self.size, self.sequence):
            raise DeviceRefused(
                "flash.changed",
                "another card was put in while this one was being written",
                place=self.path,
                hint="leave the card in until it is done; begin again",
            )

    def _all(self, what: str, call: _Call, offset: int, data: memoryview) -> None:
        done = 0
        while done < len(data):
            try:
                count = call(self.descriptor, [data[done:]], offset + done)
            except OSError as error:
                raise self._failure(error, what, offset + done, offset + len(data)) from error
            if count <= 0:
                short = OSError(errno.EIO, "the device ends there")
                raise self._failure(short, what, offset + done, offset + len(data))
            done += count

    def _failure(self, error: OSError, what: str, start: int, end: int) -> PiimageError:
        if error.errno in _GONE:
            return PiimageError(
                "flash.gone",
                "the card was taken out, or its reader was unplugged",
                place=self.path,
                hint="put it back and continue with --resume",
            )
        return PiimageError(
            "flash.io-error",
            f"bytes {start} to {end - 1} could not be {what}: {error.strerror}",
            place=self.path,
            hint="the card or its reader is faulty: try another reader, then another card",
        )


def open_device(path: str) -> int:
    """Open a device for direct I/O and for this process alone.

    Raises DeviceRefused ``flash.held``, ``flash.no-permission``, ``flash.read-only``,
    ``flash.no-device``.
    """
    try:
        return os.open(path, FLAGS)
    except OSError as error:
        raise not_opened(path, error) from error


@contextmanager
def opened(
    path: str,
    number: int,
    sequence: int | None,
    open_it: Callable[[str], int] = open_device,
) -> Iterator[Medium]:
    """Open the device with the device `number` that was asked about, for this process alone.

    The exclusive open keeps it from being mounted meanwhile and fails when it is in use in a way
    that sysfs does not show; the lock keeps udev from looking at half a partition table. Raises
    DeviceRefused ``flash.held``, ``flash.changed``, ``flash.no-permission``, ``flash.read-only``.
    """
    descriptor = open_it(path)
    try:
        _check_same(descriptor, path, number, sequence)
        _lock(descriptor, path)
        yield medium_of(path, descriptor)
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class Kept:
    """A device that stays the one that was asked about, whatever its name comes to lead to.

    While it is open, the kernel gives its number to no other.
    """

    name: str
    descriptor: int
    number: int
    sequence: int | None

    @property
    def path(self) -> Path:
        """What programs that this process starts open this very device by."""
        return Path(f"/proc/{os.getpid()}/fd/{self.descriptor}")

    @contextmanager
    def alone(self) -> Iterator[Medium]:
        """Have it for this process alone; errors as `opened`."""
        with opened(self.name, self.number, self.sequence, self._open) as medium:
            yield medium

    def _open(self, name: str) -> int:
        try:
            return os.open(self.path, FLAGS)
        except OSError as error:
            raise not_opened(name, error) from error


@contextmanager
def kept(path: str, number: int, sequence: int | None) -> Iterator[Kept]:
    """Open the device with the device `number` and disk `sequence` that was asked about.

    Raises DeviceRefused ``flash.changed``, ``flash.no-permission``, ``flash.read-only``.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise not_opened(path, error) from error
    try:
        _check_same(descriptor, path, number, sequence)
        yield Kept(path, descriptor, number, sequence)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: str) -> None:
    """Take the lock that udev respects; it holds it for a moment itself when a card was put in."""
    until = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > until:
                raise held(path) from error
            time.sleep(0.05)
        else:
            return


def medium_of(path: str, descriptor: int) -> Medium:
    """Return the medium behind an open descriptor."""
    return Medium(
        path,
        descriptor,
        blockdev.size(descriptor),
        blockdev.sector(descriptor),
        blockdev.sequence(descriptor),
    )


def not_opened(path: str, error: OSError) -> DeviceRefused:
    """Return what `error` says of a device that could not be opened."""
    if error.errno == errno.EBUSY:
        return held(path)
    if error.errno in {errno.EACCES, errno.EPERM}:
        return DeviceRefused(
            "flash.no-permission",
            "you may not write to it",
            place=path,
            hint="run the command as root, or let it ask sudo for the device",
        )
    if error.errno == errno.EROFS:
        return DeviceRefused(
            "flash.read-only",
            "it is write-protected",
            place=path,
            hint="move the card's lock switch, or lift it with `blockdev --setrw`",
        )
    return DeviceRefused(
        "flash.no-device",
        f"it cannot be opened: {error.strerror}",
        place=path,
        hint="`piimage devices` lists the cards that are there",
    )


def held(path: str) -> DeviceRefused:
    """Return the error for a device that somebody else has."""
    return DeviceRefused(
        "flash.held",
        "the kernel says that it is in use, perhaps mounted by another container or user",
        place=path,
        hint="unmount it there; `lsof` shows who has it open",
    )


def _check_same(descriptor: int, path: str, number: int, sequence: int | None) -> None:
    other = sequence is not None and blockdev.sequence(descriptor) != sequence
    if os.fstat(descriptor).st_rdev != number or other:
        raise DeviceRefused(
            "flash.changed",
            "it is another device now than the one that was asked about",
            place=path,
            hint="run `piimage devices` again, and then this command",
        )
