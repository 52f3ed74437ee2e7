"""An open card: direct reads and writes at offsets; errors name the bytes."""

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
    """Return memory that is aligned to a page, as direct I/O requires."""
    return memoryview(mmap.mmap(-1, size))


@dataclass(frozen=True)
class Medium:
    """A block device (in tests, a file) that no other process has open for writing.

    Offsets and sizes must be multiples of `sector` bytes.
    """

    path: str
    descriptor: int
    size: int
    sector: int
    sequence: int | None

    def read(self, offset: int, into: memoryview) -> None:
        """Fill `into` from the medium itself, not from the kernel's cache."""
        self._transfer("read", os.preadv, offset, into)

    def write(self, offset: int, data: memoryview) -> None:
        """Write `data` without the kernel's cache."""
        self._transfer("written", os.pwritev, offset, data)

    def flush(self) -> None:
        """Make the device write its own cache to the medium."""
        try:
            os.fdatasync(self.descriptor)
        except OSError as error:
            raise self._failure(error, "written", 0, self.size) from error

    def require_same_card(self) -> None:
        """Raise DeviceRefused ``flash.changed`` if another card has been inserted."""
        try:
            current = (blockdev.size(self.descriptor), blockdev.sequence(self.descriptor))
        except OSError as error:
            raise self._failure(error, "read", 0, self.size) from error
        if current != (self.size, self.sequence):
            raise DeviceRefused(
                "flash.changed",
                "another card was inserted during the flash",
                place=self.path,
                hint="start again, and leave the card in until the flash ends",
            )

    def _transfer(self, action: str, call: _Call, offset: int, data: memoryview) -> None:
        done = 0
        while done < len(data):
            try:
                count = call(self.descriptor, [data[done:]], offset + done)
            except OSError as error:
                raise self._failure(error, action, offset + done, offset + len(data)) from error
            if count <= 0:
                short = OSError(errno.EIO, "the device ends there")
                raise self._failure(short, action, offset + done, offset + len(data))
            done += count

    def _failure(self, error: OSError, action: str, start: int, end: int) -> PiimageError:
        if error.errno in _GONE:
            return PiimageError(
                "flash.gone",
                "the card was removed, or its reader was unplugged",
                place=self.path,
                hint="insert it again and continue with --resume",
            )
        return PiimageError(
            "flash.io-error",
            f"bytes {start} to {end - 1} could not be {action}: {error.strerror}",
            place=self.path,
            hint="the card or its reader is faulty: try another reader, then another card",
        )


def open_device(path: str) -> int:
    """Open a device for direct I/O, exclusively for this process.

    Raises DeviceRefused ``flash.held``, ``flash.no-permission``, ``flash.read-only``,
    ``flash.no-device``.
    """
    try:
        return os.open(path, FLAGS)
    except OSError as error:
        raise open_error(path, error) from error


@contextmanager
def opened(
    path: str,
    number: int,
    sequence: int | None,
    open_path: Callable[[str], int] = open_device,
) -> Iterator[Medium]:
    """Open the device exclusively; it must have the device `number` and disk `sequence`.

    The exclusive open prevents mounts and fails if the device is in use in a way that sysfs does
    not show. The lock keeps udev from reading an incomplete partition table. Raises DeviceRefused
    ``flash.held``, ``flash.changed``, ``flash.no-permission``, ``flash.read-only``.
    """
    descriptor = open_path(path)
    try:
        _check_same(descriptor, path, number, sequence)
        _lock(descriptor, path)
        yield medium_of(path, descriptor)
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class PinnedDevice:
    """An open device that stays the same even if its name later leads to another one.

    While it is open, the kernel does not give its number to another device.
    """

    name: str
    descriptor: int
    number: int
    sequence: int | None

    @property
    def path(self) -> Path:
        """The path by which child processes open this device."""
        return Path(f"/proc/{os.getpid()}/fd/{self.descriptor}")

    @contextmanager
    def exclusive(self) -> Iterator[Medium]:
        """Open the device exclusively for this process; raises the errors of `opened`."""
        with opened(self.name, self.number, self.sequence, self._open) as medium:
            yield medium

    def _open(self, name: str) -> int:
        try:
            return os.open(self.path, FLAGS)
        except OSError as error:
            raise open_error(name, error) from error


@contextmanager
def pinned(path: str, number: int, sequence: int | None) -> Iterator[PinnedDevice]:
    """Open the device; it must have the device `number` and disk `sequence`.

    Raises DeviceRefused ``flash.changed``, ``flash.no-permission``, ``flash.read-only``.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise open_error(path, error) from error
    try:
        _check_same(descriptor, path, number, sequence)
        yield PinnedDevice(path, descriptor, number, sequence)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: str) -> None:
    """Take the lock that udev respects; udev itself holds it briefly after a card is inserted."""
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise in_use(path) from error
            time.sleep(0.05)
        else:
            return


def medium_of(path: str, descriptor: int) -> Medium:
    """Return the medium of an open descriptor."""
    return Medium(
        path,
        descriptor,
        blockdev.size(descriptor),
        blockdev.sector(descriptor),
        blockdev.sequence(descriptor),
    )


def open_error(path: str, error: OSError) -> DeviceRefused:
    """Return the error for a device that could not be opened because of `error`."""
    if error.errno == errno.EBUSY:
        return in_use(path)
    if error.errno in {errno.EACCES, errno.EPERM}:
        return DeviceRefused(
            "flash.no-permission",
            "you may not write to the device",
            place=path,
            hint="run the command as root, or through sudo",
        )
    if error.errno == errno.EROFS:
        return DeviceRefused(
            "flash.read-only",
            "it is write-protected",
            place=path,
            hint="unlock the card's lock switch, or run `blockdev --setrw`",
        )
    return DeviceRefused(
        "flash.no-device",
        f"the device cannot be opened: {error.strerror}",
        place=path,
        hint="run `piimage devices` to list the disks",
    )


def in_use(path: str) -> DeviceRefused:
    """Return the error for a device that another process or mount uses."""
    return DeviceRefused(
        "flash.held",
        "the kernel reports that the device is in use, perhaps mounted by a container or user",
        place=path,
        hint="unmount it there; `lsof` shows which process has it open",
    )


def _check_same(descriptor: int, path: str, number: int, sequence: int | None) -> None:
    changed = sequence is not None and blockdev.sequence(descriptor) != sequence
    if os.fstat(descriptor).st_rdev != number or changed:
        raise DeviceRefused(
            "flash.changed",
            "the name leads to another device or card than before",
            place=path,
            hint="run `piimage devices` again, and then this command",
        )
