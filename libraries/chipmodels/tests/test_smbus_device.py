"""SMBus calls as ioctls of linux/i2c-dev.h. The ioctl is a fake that keeps one cell a register."""

from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path

import pytest
from chipmodels import smbus_device
from chipmodels.smbus_device import SmbusDevice

SLAVE_FORCE, SMBUS = 0x0706, 0x0720


def test_words_and_bytes_go_to_the_address_that_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """struct i2c_smbus_ioctl_data: read_write, command, size, and a pointer to 34 bytes."""
    cells: dict[tuple[int, int], bytes] = {}
    calls: list[tuple[int, ...]] = []
    chosen = [0]

    def ioctl(fd: int, command: int, argument: object) -> None:
        assert Path(f"/proc/self/fd/{fd}").readlink() == Path("/dev/null")
        if command == SLAVE_FORCE:
            assert isinstance(argument, int)
            chosen[0] = argument
            return
        assert command == SMBUS
        reading, register, size, pointer = struct.unpack("@BBIP", bytes(argument))  # type: ignore[call-overload]
        calls.append((chosen[0], reading, register, size))
        memory = (ctypes.c_char * 34).from_address(pointer)
        key = (chosen[0], register)
        if reading:
            memory[:2] = cells[key]
        else:
            cells[key] = memory[:2]

    monkeypatch.setattr(smbus_device.fcntl, "ioctl", ioctl)
    with SmbusDevice("/dev/null") as device:
        device.write_byte_data(0x77, 0xF4, 0x57)
        device.write_word_data(0x48, 1, 0x83C3)
        assert cells == {(0x77, 0xF4): b"\x57\x00", (0x48, 1): b"\xc3\x83"}
        assert device.read_byte_data(0x48, 1) == 0xC3
        assert calls == [(0x77, 0, 0xF4, 2), (0x48, 0, 1, 3), (0x48, 1, 1, 2)]
        opened = device._fd
        assert os.get_inheritable(opened) is False
    with pytest.raises(OSError):
        os.fstat(opened)


def test_a_bus_that_is_not_there_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        SmbusDevice("/dev/no-such-bus")
