"""Refusals of a Pi's controllers, bus error checking, clocks that are too fast, timeouts."""

from __future__ import annotations

import errno
import random

import pytest
from chipmodels.adapter import I2cAdapter, Message, SpiController
from chipmodels.bosch import BoschModel
from chipmodels.clock import VirtualClock
from chipmodels.faults import FaultRates, FaultyChip
from chipmodels.inprocess import ModelSpiDev
from chipmodels.smbus import PacketErrorChecking, Size, crc8, smbus_read, smbus_write
from hypothesis import given
from hypothesis import strategies as st


class Recorder:
    """A chip with SMBus error checking: remembers what is written, answers what it is told."""

    def __init__(self, answer: bytes = b"") -> None:
        self.written: list[bytes] = []
        self.answer = answer

    def i2c_write(self, data: bytes) -> None:
        self.written.append(data)

    def i2c_read(self, length: int) -> bytes:
        return self.answer[:length].ljust(length, b"\xff")


def errno_of(adapter: I2cAdapter, *messages: Message) -> int | None:
    with pytest.raises(OSError) as caught:
        adapter.transfer(messages)
    return caught.value.errno


@pytest.mark.parametrize("flag", [0x0010, 0x0400, 0x0800, 0x1000, 0x2000, 0x4000, 0x8000])
def test_message_flags_are_refused(flag: int) -> None:
    adapter = I2cAdapter({0x48: Recorder()})
    read = Message(0x48, length=1, read=True, flags=flag)
    assert errno_of(adapter, read) == errno.EOPNOTSUPP


@pytest.mark.parametrize("address", [-1, 0x80, 0x3FF])
def test_addresses_of_more_than_seven_bits_are_refused(address: int) -> None:
    assert errno_of(I2cAdapter({}), Message(address, b"\0")) == errno.EINVAL


def test_what_is_just_allowed() -> None:
    """linux/i2c-dev.h: 42 messages of 8192 bytes; seven bits are 0 to 0x7f."""
    chips = {0: Recorder(), 0x7F: Recorder()}
    adapter = I2cAdapter(chips)
    adapter.transfer([Message(0, bytes(8192))] * 41 + [Message(0x7F, length=8192, read=True)])
    assert len(chips[0].written) == 41
    assert errno_of(adapter, Message(0, bytes(8193))) == errno.EINVAL
    assert adapter.log[0].error == 0
    assert adapter.log[1].error == errno.EINVAL


def test_reads_are_answered_with_all_that_was_read() -> None:
    adapter = I2cAdapter({0x48: Recorder(b"ab")})
    assert adapter.transfer([Message(0x48, b"c"), Message(0x48, length=2, read=True)]) == [b"ab"]
    assert adapter.transfer([Message(0x48, b"c")]) == []
    message = Message(0x48)
    assert (message.data, message.length, message.read, message.flags) == (b"", 0, False, 0)


def test_a_clock_held_low_times_out_when_the_adapter_says() -> None:
    clock = VirtualClock()
    chip = FaultyChip(Recorder(), FaultRates(hang=1.0), random.Random(1))
    adapter = I2cAdapter({0x48: chip}, wait=clock.sleep)
    assert errno_of(adapter, Message(0x48, b"\0")) == errno.ETIMEDOUT
    assert clock.monotonic() == 1.0
    adapter.timeout_seconds = 0.25
    assert errno_of(adapter, Message(0x48, b"\0")) == errno.ETIMEDOUT
    assert clock.monotonic() == 1.25
    assert chip.counts["hang"] == 2


def test_the_check_byte_is_that_of_the_standard() -> None:
    assert crc8(b"123456789") == 0xF4  # CRC-8/SMBUS of the catalogue of parametrised CRCs


def test_a_checked_write_has_its_check_byte() -> None:
    chip = Recorder()
    smbus_write(PacketErrorChecking(I2cAdapter({0x5A: chip})), 0x5A, Size.WORD_DATA, 7, b"\1\2")
    assert chip.written == [b"\x07\1\2" + bytes([crc8(bytes([0xB4, 7, 1, 2]))])]


@given(data=st.binary(min_size=2, max_size=2), wrong=st.integers(0, 255))
def test_a_checked_read_is_taken_with_its_check_byte_alone(data: bytes, wrong: int) -> None:
    right = crc8(bytes([0xB4, 7, 0xB5]) + data)
    bus = PacketErrorChecking(I2cAdapter({0x5A: Recorder(data + bytes([wrong]))}))
    if wrong == right:
        assert smbus_read(bus, 0x5A, Size.WORD_DATA, 7, 2) == data
        return
    with pytest.raises(OSError) as caught:
        smbus_read(bus, 0x5A, Size.WORD_DATA, 7, 2)
    assert caught.value.errno == errno.EBADMSG


def test_a_clock_that_is_too_fast_makes_the_answer_a_bit_late() -> None:
    clock = VirtualClock()
    device = ModelSpiDev(SpiController({0: BoschModel(clock)}))
    clock.sleep(1)
    device.max_speed_hz = 10_000_000
    assert device.xfer2([0xD0, 0]) == [0xFF, 0x58]
    device.max_speed_hz = 10_000_001
    assert device.xfer2([0xD0, 0]) == [0xFF, 0x80 | 0x58 >> 1]
    with pytest.raises(OSError):
        device.max_speed_hz = 0


def test_faults_on_spi_look_like_an_idle_line() -> None:
    clock = VirtualClock()
    chip = FaultyChip(BoschModel(clock), FaultRates(), random.Random(1))
    device = ModelSpiDev(SpiController({0: chip}))
    clock.sleep(1)
    chip.unplugged = True
    assert device.xfer2([0xD0, 0]) == [0xFF, 0xFF]
    chip.unplugged, chip.rates = False, FaultRates(garbage=1.0)
    device.xfer2([0xD0, 0])
    assert chip.counts == {"garbage": 1}
