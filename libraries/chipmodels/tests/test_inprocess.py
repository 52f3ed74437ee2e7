"""The calls of smbus2 and spidev as messages on the bus (linux/i2c.h, i2c-core-smbus.c)."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest
import smbus2
from chipmodels.adapter import I2cAdapter, I2cTransfer, Message, SpiController, SpiTransfer
from chipmodels.inprocess import ModelSMBus, ModelSpiDev
from chipmodels.smbus import PacketErrorChecking, Size, process_call, smbus_read, smbus_write


class Counting:
    """A chip that answers 0x11, 0x12, ..."""

    def i2c_write(self, data: bytes) -> None:
        pass

    def i2c_read(self, length: int) -> bytes:
        return bytes(0x11 + i for i in range(length))


def wrote(data: bytes) -> Message:
    return Message(0x48, data)


def reading(length: int) -> Message:
    return Message(0x48, b"", length, True)


BLOCK = list(range(32))


@pytest.mark.parametrize(
    ("call", "messages", "answer"),
    [
        (lambda b: b.write_quick(0x48), [wrote(b"")], None),
        (lambda b: b.read_byte(0x48), [reading(1)], 0x11),
        (lambda b: b.write_byte(0x48, 5), [wrote(b"\x05")], None),
        (lambda b: b.read_byte_data(0x48, 7), [wrote(b"\7"), reading(1)], 0x11),
        (lambda b: b.write_byte_data(0x48, 7, 9), [wrote(b"\7\x09")], None),
        (lambda b: b.read_word_data(0x48, 7), [wrote(b"\7"), reading(2)], 0x1211),
        (lambda b: b.write_word_data(0x48, 7, 0x1234), [wrote(b"\7\x34\x12")], None),
        (lambda b: b.process_call(0x48, 7, 0x1234), [wrote(b"\7\x34\x12"), reading(2)], 0x1211),
        (
            lambda b: b.read_i2c_block_data(0x48, 7, 32),
            [wrote(b"\7"), reading(32)],
            [0x11 + i for i in range(32)],
        ),
        (lambda b: b.write_i2c_block_data(0x48, 7, BLOCK), [wrote(bytes([7, *BLOCK]))], None),
    ],
)
def test_calls_of_smbus2(
    call: Callable[[ModelSMBus], object], messages: list[Message], answer: object
) -> None:
    adapter = I2cAdapter({0x48: Counting()})
    assert call(ModelSMBus(adapter)) == answer
    assert adapter.log == [I2cTransfer(tuple(messages), 0)]


@pytest.mark.parametrize(
    "call",
    [
        lambda b: b.read_i2c_block_data(0x48, 7, 33),
        lambda b: b.write_i2c_block_data(0x48, 7, [0] * 33),
    ],
)
def test_blocks_have_32_bytes_as_with_smbus2(call: Callable[[object], object]) -> None:
    adapter = I2cAdapter({0x48: Counting()})
    words = []
    for bus in (ModelSMBus(adapter), smbus2.SMBus()):
        with pytest.raises(ValueError) as caught:
            call(bus)
        words.append(str(caught.value))
    assert words[0] == words[1]
    assert not adapter.log


def test_messages_of_smbus2_are_taken_with_their_flags() -> None:
    adapter = I2cAdapter({0x48: Counting()})
    bus = ModelSMBus(adapter)
    written, answer = smbus2.i2c_msg.write(0x48, [1, 2, 3]), smbus2.i2c_msg.read(0x48, 3)
    bus.i2c_rdwr(written, answer)
    assert bytes(answer) == b"\x11\x12\x13"
    assert adapter.log == [I2cTransfer((wrote(b"\1\2\3"), reading(3)))]
    for message in (written, answer):
        message.flags |= 0x10  # I2C_M_TEN
        with pytest.raises(OSError) as caught:
            bus.i2c_rdwr(message)
        assert caught.value.errno == errno.EOPNOTSUPP
    assert adapter.log[1].messages == (Message(0x48, b"\1\2\3", flags=0x10),)
    assert adapter.log[2].messages == (Message(0x48, length=3, read=True, flags=0x10),)


def test_a_bus_that_was_closed_says_so() -> None:
    bus = ModelSMBus(I2cAdapter({}))
    assert not bus.closed
    bus.close()
    assert bus.closed


@pytest.mark.parametrize(
    ("size", "data", "wire"),
    [
        (Size.QUICK, b"", b""),
        (Size.BYTE, b"", b"\7"),
        (Size.BLOCK_DATA, b"abc", b"\7\3abc"),
        (Size.BLOCK_DATA, bytes(32), b"\7\x20" + bytes(32)),
        (Size.I2C_BLOCK_DATA, b"abc", b"\7abc"),
    ],
)
def test_what_is_written(size: Size, data: bytes, wire: bytes) -> None:
    adapter = I2cAdapter({0x48: Counting()})
    smbus_write(adapter, 0x48, size, 7, data)
    assert adapter.log == [I2cTransfer((wrote(wire),))]


def test_a_quick_read_has_no_data() -> None:
    adapter = I2cAdapter({0x48: Counting()})
    assert smbus_read(adapter, 0x48, Size.QUICK, 0, 0) == b""
    assert adapter.log == [I2cTransfer((reading(0),))]
    assert smbus_read(adapter, 0x48, Size.I2C_BLOCK_DATA, 7, 0) == b""


@pytest.mark.parametrize(
    ("call", "number"),
    [
        (lambda a: smbus_read(a, 0x48, Size.I2C_BLOCK_DATA, 7, 33), errno.EINVAL),
        (lambda a: smbus_write(a, 0x48, Size.I2C_BLOCK_DATA, 7, bytes(33)), errno.EINVAL),
        (lambda a: smbus_write(a, 0x48, Size.BLOCK_DATA, 7, bytes(33)), errno.EINVAL),
        (lambda a: smbus_read(a, 0x48, Size.BLOCK_DATA, 7, 2), errno.EOPNOTSUPP),
        (lambda a: smbus_read(a, 0x48, Size.PROC_CALL, 7, 2), errno.EOPNOTSUPP),
        (lambda a: smbus_write(a, 0x48, Size.BLOCK_PROC_CALL, 7, b"a"), errno.EOPNOTSUPP),
        (lambda a: smbus_write(a, 0x48, Size.I2C_BLOCK_BROKEN, 7, b"a"), errno.EOPNOTSUPP),
    ],
)
def test_what_is_refused(call: Callable[[I2cAdapter], object], number: int) -> None:
    adapter = I2cAdapter({0x48: Counting()})
    with pytest.raises(OSError) as caught:
        call(adapter)
    assert caught.value.errno == number
    assert not adapter.log


def test_the_numbers_of_the_transactions_are_those_of_the_kernel() -> None:
    assert {size.name: int(size) for size in Size} == {
        "QUICK": 0, "BYTE": 1, "BYTE_DATA": 2, "WORD_DATA": 3, "PROC_CALL": 4,
        "BLOCK_DATA": 5, "I2C_BLOCK_BROKEN": 6, "BLOCK_PROC_CALL": 7, "I2C_BLOCK_DATA": 8,
    }  # fmt: skip


def test_a_checked_call_reads_a_byte_more() -> None:
    """SMBus 3.1 section 6.4: the check byte of 90 07 34 12 91 11 12, bitwise by hand, is 0xEA."""
    adapter = I2cAdapter({0x48: Counting()})
    with pytest.raises(OSError) as caught:
        process_call(PacketErrorChecking(adapter), 0x48, 7, b"\x34\x12")
    assert caught.value.errno == errno.EBADMSG
    assert adapter.log == [I2cTransfer((wrote(b"\7\x34\x12"), reading(3)))]

    class Checked(Counting):
        def i2c_read(self, length: int) -> bytes:
            return b"\x11\x12\xea"[:length]

    bus = PacketErrorChecking(I2cAdapter({0x48: Checked()}))
    assert process_call(bus, 0x48, 7, b"\x34\x12") == b"\x11\x12"


class Wire:
    """A chip that answers 1, 2, ... and notes the mode."""

    spi_max_hz = 500_000

    def __init__(self) -> None:
        self.modes: list[int] = []

    def spi_transfer(self, data: bytes, mode: int) -> bytes:
        self.modes.append(mode)
        return bytes(i + 1 for i in range(len(data)))


def test_calls_of_spidev() -> None:
    chip = Wire()
    controller = SpiController({0: Wire(), 1: chip})
    device = ModelSpiDev(controller, 1)
    assert (device.mode, device.max_speed_hz, device.bits_per_word) == (0, 500_000, 8)
    for mode in (0, 1, 2, 3, 0x40, 0x10 | 3):  # CS_HIGH, 3WIRE
        device.mode = mode
        assert device.mode == mode
        assert device.xfer2([7, 8]) == [1, 2]
    assert chip.modes == [0, 1, 2, 3, 0, 3]
    assert device.xfer([7, 8, 9]) == [1, 2, 3]
    assert device.xfer3((7, 8)) == (1, 2)
    assert device.readbytes(2) == [1, 2]
    device.writebytes([5])
    assert [t.sent for t in controller.log[-4:]] == [b"\7\x08\x09", b"\7\x08", b"\0\0", b"\x05"]
    device.close()
    assert ModelSpiDev(controller).chip_select == 0


def test_settings_of_spidev_that_a_pi_refuses() -> None:
    device = ModelSpiDev(SpiController({}))
    for name, value in (("mode", 0x08), ("mode", 0x100), ("bits_per_word", 9), ("max_speed_hz", 0),
                        ("max_speed_hz", -1)):  # fmt: skip
        with pytest.raises(OSError) as caught:
            setattr(device, name, value)
        assert caught.value.errno == errno.EINVAL
    assert (device.mode, device.bits_per_word, device.max_speed_hz) == (0, 8, 500_000)
    device.bits_per_word = 0  # the kernel's word for 8
    device.max_speed_hz = 1
    assert (device.bits_per_word, device.max_speed_hz) == (0, 1)


def test_a_controller_without_a_chip_or_at_its_limits() -> None:
    controller = SpiController({0: Wire()})
    assert controller.transfer(1, b"ab", 0) == b"\xff\xff"
    assert controller.transfer(0, b"ab", 0) == b"\1\2"  # half a megahertz, if nobody says more
    assert controller.transfer(1, bytes(4096), 0) == b"\xff" * 4096
    with pytest.raises(OSError) as caught:
        controller.transfer(1, bytes(4097), 0)
    assert caught.value.errno == errno.EMSGSIZE
    assert controller.transfer(0, b"", 0, 500_001) == b""
    assert controller.transfer(0, b"a", 0, 500_001) == b"\x80"
    assert controller.log[:2] == [SpiTransfer(b"ab", b"\xff\xff"), SpiTransfer(b"ab", b"\1\2")]
