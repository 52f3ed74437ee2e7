"""The ioctls of device nodes with a simulated caller's memory: requested ranges, and limits."""

from __future__ import annotations

import errno
import struct

import pytest
from chipmodels.adapter import I2cAdapter, I2cTransfer, Message, SpiController
from chipmodels.bosch import BoschModel
from chipmodels.clock import VirtualClock
from chipmodels.cuse import Call, Done, OpenFile, Range
from chipmodels.cuse_i2c import I2cFile
from chipmodels.cuse_spi import SpiFile
from chipmodels.daemon import main, placed
from hypothesis import given
from hypothesis import strategies as st
from sensor_rig import EXAMPLE_CALIBRATION


class Caller:
    """A process: 64 kB of memory, and the kernel's rounds of an ioctl."""

    def __init__(self, file: OpenFile) -> None:
        self.file = file
        self.memory = bytearray(65536)

    def poke(self, address: int, data: bytes) -> None:
        self.memory[address : address + len(data)] = data

    def peek(self, r: Range) -> bytes:
        return bytes(self.memory[r.address : r.address + r.length])

    def ioctl(self, command: int, argument: int) -> int:
        data, out_size, write = b"", 0, ()
        for _ in range(5):
            answer = self.file.ioctl(Call(command, argument, data, out_size))
            if isinstance(answer, Done):
                position = 0
                for r in write:
                    self.poke(r.address, answer.data[position : position + r.length])
                    position += r.length
                assert len(answer.data) == position
                return answer.result
            data, write = b"".join(self.peek(r) for r in answer.read), answer.write
            out_size = sum(r.length for r in write)
        pytest.fail("the ioctl never had enough")


def i2c() -> Caller:
    clock = VirtualClock()
    chip = BoschModel(clock)
    clock.sleep(1)
    return Caller(I2cFile(I2cAdapter({0x77: chip})))


def spi() -> Caller:
    clock = VirtualClock()
    chip = BoschModel(clock)
    clock.sleep(1)
    return Caller(SpiFile(SpiController({0: chip}), 0))


def test_rdwr_reads_the_calibration() -> None:
    caller = i2c()
    caller.poke(0x100, struct.pack("<QI4x", 0x200, 2))
    caller.poke(0x200, struct.pack("<HHH2xQ", 0x77, 0, 1, 0x300))
    caller.poke(0x210, struct.pack("<HHH2xQ", 0x77, 1, 24, 0x400))
    caller.poke(0x300, b"\x88")
    assert caller.ioctl(0x0707, 0x100) == 2
    assert caller.peek(Range(0x400, 24)) == EXAMPLE_CALIBRATION


def test_smbus_block_read_keeps_its_length_first() -> None:
    caller = i2c()
    caller.ioctl(0x0703, 0x77)
    caller.poke(0x100, struct.pack("<BB2xIQ", 1, 0x88, 8, 0x200))
    caller.poke(0x200, bytes([24]))
    assert caller.ioctl(0x0720, 0x100) == 0
    assert caller.peek(Range(0x200, 25)) == bytes([24]) + EXAMPLE_CALIBRATION


def test_functions_are_those_of_a_pi() -> None:
    caller = i2c()
    caller.ioctl(0x0705, 0x100)
    assert int.from_bytes(caller.peek(Range(0x100, 8)), "little") == 0x0EFF0009


def test_spi_message_reads_the_identity_in_mode_3() -> None:
    caller = spi()
    caller.poke(0x100, b"\x03")
    caller.ioctl(0x40016B01, 0x100)
    caller.poke(0x300, b"\xd0\x00")
    caller.poke(0x200, struct.pack("<QQIIHBBBBBx", 0x300, 0x400, 2, 0, 0, 8, 0, 0, 0, 0))
    assert caller.ioctl(0x40206B00, 0x200) == 2
    assert caller.peek(Range(0x400, 2)) == b"\xff\x58"


@given(
    command=st.integers(0, 0xFFFFFFFF), data=st.binary(max_size=300), fill=st.binary(max_size=64)
)
def test_any_request_is_answered_or_refused(command: int, data: bytes, fill: bytes) -> None:
    for caller in (i2c(), spi()):
        for request in (command, 0x0707, 0x0720, 0x40206B00):
            try:
                caller.file.ioctl(Call(request, 0x100, data + fill, len(fill)))
            except OSError as error:
                assert error.errno


def test_places_are_read_or_refused(capsys: pytest.CaptureFixture[str]) -> None:
    places = ["i2c-7:0x77=bmp280", "i2c-7:0x29=tcs3472", "spidev0.1=bme280"]
    nodes, _ = placed(places, VirtualClock()).served()
    assert [node.name for node in nodes] == ["i2c-7", "spidev0.1"]
    assert main(["i2c-7=bmp280"]) == 2
    assert "is not i2c-N:0xAA=CHIP" in capsys.readouterr().err


class Counting:
    """A chip that answers 0x11, 0x12, ... on both buses."""

    def i2c_write(self, data: bytes) -> None:
        pass

    def i2c_read(self, length: int) -> bytes:
        return bytes(0x11 + i & 0xFF for i in range(length))

    def spi_transfer(self, data: bytes, mode: int) -> bytes:
        return self.i2c_read(len(data))


def counting() -> tuple[Caller, I2cAdapter]:
    adapter = I2cAdapter({0x48: Counting()})
    caller = Caller(I2cFile(adapter))
    caller.ioctl(0x0706, 0x48)  # I2C_SLAVE_FORCE
    return caller, adapter


def wrote(data: bytes) -> Message:
    return Message(0x48, data)


def read_of(length: int) -> Message:
    return Message(0x48, b"", length, True)


def refusal(caller: Caller, command: int, argument: int) -> int | None:
    with pytest.raises(OSError) as caught:
        caller.ioctl(command, argument)
    return caught.value.errno


def smbus(caller: Caller, reading: int, command: int, size: int, data: bytes | None) -> bytes:
    """One I2C_SMBUS; what the caller's 34 bytes hold afterwards."""
    pointer = 0x200 if data is not None else 0
    caller.poke(0x100, struct.pack("<BB2xIQ", reading, command, size, pointer))
    caller.poke(0x200, (data or b"").ljust(34, b"\xee"))
    assert caller.ioctl(0x0720, 0x100) == 0
    return caller.peek(Range(0x200, 34))


@pytest.mark.parametrize(
    ("reading", "size", "data", "messages", "after"),
    [
        (0, 0, None, [wrote(b"")], b""),
        (1, 0, None, [wrote(b"")], b""),
        (0, 1, None, [wrote(b"\7")], b""),
        (1, 1, b"", [read_of(1)], b"\x11"),
        (0, 2, b"ab", [wrote(b"\7a")], b"ab"),
        (1, 2, b"", [wrote(b"\7"), read_of(1)], b"\x11"),
        (0, 3, b"abc", [wrote(b"\7ab")], b"abc"),
        (1, 3, b"", [wrote(b"\7"), read_of(2)], b"\x11\x12"),
        (0, 4, b"ab", [wrote(b"\7ab"), read_of(2)], b"\x11\x12"),
        (0, 5, b"\2abc", [wrote(b"\7\2ab")], b"\2abc"),
        (0, 8, b"\2abc", [wrote(b"\7ab")], b"\2abc"),
        (1, 8, b"\3", [wrote(b"\7"), read_of(3)], b"\3\x11\x12\x13"),
    ],
)
def test_smbus_calls_are_messages(
    reading: int, size: int, data: bytes | None, messages: list[Message], after: bytes
) -> None:
    """union i2c_smbus_data: a byte, a word, or a block with its length first."""
    caller, adapter = counting()
    left = smbus(caller, reading, 7, size, data)
    assert adapter.log == [I2cTransfer(tuple(messages))]
    assert left == after.ljust(34, b"\xee")


@pytest.mark.parametrize(
    ("reading", "size", "data", "number"),
    [
        (1, 1, None, errno.EINVAL),
        (0, 2, None, errno.EINVAL),
        (0, 9, b"", errno.EINVAL),
        (0, 9, None, errno.EINVAL),
        (1, 5, b"", errno.EOPNOTSUPP),
        (1, 8, b"\x21", errno.EINVAL),
        (0, 8, b"\x21", errno.EINVAL),
    ],
)
def test_smbus_calls_that_are_refused(
    reading: int, size: int, data: bytes | None, number: int
) -> None:
    caller, adapter = counting()
    with pytest.raises(OSError) as caught:
        smbus(caller, reading, 7, size, data)
    assert caught.value.errno == number
    assert not adapter.log


def test_reads_and_writes_of_the_node_are_single_messages() -> None:
    caller, adapter = counting()
    assert caller.file.read(3) == b"\x11\x12\x13"
    caller.file.write(b"ab")
    assert adapter.log == [I2cTransfer((read_of(3),)), I2cTransfer((wrote(b"ab"),))]


def test_addresses_have_seven_bits_or_ten_when_asked() -> None:
    """i2cdev_ioctl; a Pi's controller then refuses the ten bits."""
    caller, adapter = counting()
    for command in (0x0703, 0x0706):
        assert caller.ioctl(command, 0x7F) == 0
        assert refusal(caller, command, 0x80) == errno.EINVAL
    assert caller.ioctl(0x0704, 1) == 0
    assert caller.ioctl(0x0703, 0x3FF) == 0
    assert refusal(caller, 0x0703, 0x400) == errno.EINVAL
    for call in (lambda: caller.file.read(1), lambda: caller.file.write(b"a")):
        with pytest.raises(OSError) as caught:
            call()
        assert caught.value.errno == errno.EOPNOTSUPP
    assert adapter.log[0].messages == (Message(0x3FF, length=1, read=True, flags=0x10),)
    assert adapter.log[1].messages == (Message(0x3FF, b"a", flags=0x10),)
    with pytest.raises(OSError) as caught:
        smbus(caller, 1, 7, 2, b"")
    assert caught.value.errno == errno.EOPNOTSUPP
    assert len(adapter.log) == 2
    caller.ioctl(0x0704, 0)
    caller.ioctl(0x0703, 0x48)
    assert caller.file.read(1) == b"\x11"


def test_a_new_file_has_no_address_no_ten_bits_and_no_checks() -> None:
    adapter = I2cAdapter({0: Counting()})
    caller = Caller(I2cFile(adapter))
    assert caller.file.read(1) == b"\x11"
    assert smbus(caller, 1, 7, 2, b"")[0] == 0x11
    assert adapter.log[0].messages == (Message(0, length=1, read=True),)


def test_settings_of_the_bus() -> None:
    """The timeout is in units of 10 ms, and the adapter's; numbers end at INT_MAX."""
    caller, adapter = counting()
    assert adapter.timeout_seconds == 1.0
    assert caller.ioctl(0x0702, 25) == 0
    assert adapter.timeout_seconds == 0.25
    assert caller.ioctl(0x0701, 3) == 0
    assert adapter.timeout_seconds == 0.25
    for command in (0x0701, 0x0702):
        assert caller.ioctl(command, 0x7FFFFFFF) == 0
        assert refusal(caller, command, 0x80000000) == errno.EINVAL
    assert caller.ioctl(0x0708, 0x80000000) == 0
    assert refusal(caller, 0x0709, 0) == errno.ENOTTY


def test_error_checking_adds_a_byte_but_not_to_quick_calls_and_plain_blocks() -> None:
    caller, adapter = counting()
    assert caller.ioctl(0x0708, 1) == 0
    smbus(caller, 0, 7, 0, None)
    smbus(caller, 0, 7, 8, b"\1a")
    smbus(caller, 0, 7, 2, b"a")
    assert [len(t.messages[0].data) for t in adapter.log] == [0, 2, 3]
    with pytest.raises(OSError) as caught:
        smbus(caller, 1, 7, 2, b"")
    assert caught.value.errno == errno.EBADMSG
    caller.ioctl(0x0708, 0)
    assert smbus(caller, 1, 7, 2, b"")[0] == 0x11


def rdwr(caller: Caller, *messages: tuple[int, int, int]) -> int:
    """I2C_RDWR with (flags, length, pointer) for each message."""
    caller.poke(0x1000, struct.pack("<QI4x", 0x2000, len(messages)))
    table = [struct.pack("<HHH2xQ", 0x48, *message) for message in messages]
    caller.poke(0x2000, b"".join(table))
    return caller.ioctl(0x0707, 0x1000)


def test_several_messages_have_their_own_data() -> None:
    caller, adapter = counting()
    caller.poke(0x300, b"abcdef")
    assert rdwr(caller, (0, 2, 0x300), (0, 0, 0x300), (0, 3, 0x303), (1, 2, 0x400)) == 4
    assert adapter.log == [I2cTransfer((wrote(b"ab"), wrote(b""), wrote(b"def"), read_of(2)))]
    assert caller.peek(Range(0x400, 3)) == b"\x11\x12\0"
    assert rdwr(caller, (1, 1, 0x400)) == 1


def test_one_to_42_messages_are_taken() -> None:
    caller, adapter = counting()
    assert rdwr(caller, *[(0, 1, 0x300)] * 42) == 42
    assert len(adapter.log[0].messages) == 42
    for count in (0, 43):
        with pytest.raises(OSError) as caught:
            rdwr(caller, *[(0, 1, 0x300)] * count)
        assert caught.value.errno == errno.EINVAL


@pytest.mark.parametrize(("flags", "pointer"), [(0x10, 0x300), (0x11, 0x400)])
def test_flags_of_messages_reach_the_adapter(flags: int, pointer: int) -> None:
    caller, adapter = counting()
    with pytest.raises(OSError):
        rdwr(caller, (flags, 1, pointer))
    assert adapter.log[0].messages[0].flags == 0x10


class Spi:
    """A caller of a node whose chip answers 0x11, 0x12, ... in each transfer."""

    def __init__(self, chip: object | None = None) -> None:
        self.controller = SpiController({1: chip or Counting()})  # type: ignore[dict-item]
        self.caller = Caller(SpiFile(self.controller, 1))

    def get(self, command: int, size: int) -> int:
        self.caller.ioctl(command, 0x100)
        return int.from_bytes(self.caller.peek(Range(0x100, size)), "little")

    def put(self, command: int, value: int, size: int) -> None:
        self.caller.poke(0x100, value.to_bytes(size, "little"))
        assert self.caller.ioctl(command, 0x100) == 0

    def message(self, *rows: tuple[int, ...]) -> int:
        """SPI_IOC_MESSAGE: tx, rx, length, speed, bits, release, lines out and in of each row."""
        table = [
            struct.pack("<QQIIHBBBBBx", tx, rx, length, speed, 0, bits, release, out, into, 0)
            for tx, rx, length, speed, bits, release, out, into in rows
        ]
        self.caller.poke(0x2000, b"".join(table))
        return self.caller.ioctl(0x40006B00 | 32 * len(rows) << 16, 0x2000)


def test_settings_of_spidev_are_read_back() -> None:
    """linux/spi/spidev.h: mode, lsb first, bits, speed, 32-bit mode; read 0x80..., write 0x40..."""
    spi = Spi()
    assert spi.get(0x80016B01, 1) == 0
    assert spi.get(0x80016B02, 1) == 0
    assert spi.get(0x80016B03, 1) == 8
    assert spi.get(0x80046B04, 4) == 500_000
    spi.put(0x40016B01, 3, 1)
    assert spi.get(0x80046B05, 4) == 3
    spi.put(0x40046B05, 0x40, 4)
    assert spi.get(0x80016B01, 1) == 0x40
    spi.put(0x40016B03, 0, 1)
    spi.put(0x40016B02, 0, 1)
    spi.put(0x40046B04, 1, 4)
    assert (spi.get(0x80016B03, 1), spi.get(0x80046B04, 4)) == (0, 1)


@pytest.mark.parametrize(
    ("command", "value", "number"),
    [
        (0x40016B01, 0x08, errno.EINVAL),
        (0x40016B02, 1, errno.EINVAL),
        (0x40016B03, 16, errno.EINVAL),
        (0x40046B04, 0, errno.EINVAL),
        (0x40046B06, 0, errno.ENOTTY),
        (0x40016C01, 0, errno.ENOTTY),
        (0x401F6B00, 0, errno.EINVAL),
    ],
)
def test_settings_of_spidev_that_are_refused(command: int, value: int, number: int) -> None:
    spi = Spi()
    spi.caller.poke(0x100, value.to_bytes(4, "little"))
    assert refusal(spi.caller, command, 0x100) == number
    assert spi.get(0x80016B01, 1) == 0
    assert spi.get(0x80016B02, 1) == 0


def test_reads_and_writes_of_spidev() -> None:
    spi = Spi()
    assert spi.caller.file.read(2) == b"\x11\x12"
    spi.caller.file.write(b"ab")
    sent = [(t.sent, t.received) for t in spi.controller.log]
    assert sent == [(b"\0\0", b"\x11\x12"), (b"ab", b"\x11\x12")]


def test_segments_are_one_transfer_until_chip_select_is_released() -> None:
    spi = Spi()
    spi.caller.poke(0x300, b"abcdefgh")
    rows = [
        (0x300, 0, 2, 0, 8, 0, 0, 0),
        (0, 0x400, 2, 0, 0, 1, 1, 1),
        (0x302, 0x500, 1, 0, 0, 0, 0, 0),
        (0, 0, 0, 0, 0, 0, 0, 0),
        (0x303, 0x510, 3, 0, 0, 0, 0, 0),
    ]
    assert spi.message(*rows) == 8
    assert [t.sent for t in spi.controller.log] == [b"ab\0\0", b"cdef"]
    assert spi.caller.peek(Range(0x400, 3)) == b"\x13\x14\0"
    assert spi.caller.peek(Range(0x500, 2)) == b"\x11\0"
    assert spi.caller.peek(Range(0x510, 4)) == b"\x12\x13\x14\0"
    assert spi.message((0x300, 0, 1, 0, 8, 1, 0, 0)) == 1
    assert [t.sent for t in spi.controller.log[2:]] == [b"a"]


@pytest.mark.parametrize(
    ("row", "number"),
    [
        ((0x300, 0x400, 4097, 0, 8, 0, 0, 0), errno.EMSGSIZE),
        ((0x300, 0x400, 1, 0, 16, 0, 0, 0), errno.EINVAL),
        ((0x300, 0x400, 1, 0, 8, 0, 2, 0), errno.EINVAL),
        ((0x300, 0x400, 1, 0, 8, 0, 1, 2), errno.EINVAL),
    ],
)
def test_segments_that_are_refused(row: tuple[int, ...], number: int) -> None:
    spi = Spi()
    with pytest.raises(OSError) as caught:
        spi.message(row)
    assert caught.value.errno == number
    assert not spi.controller.log
    assert spi.message((0x300, 0x4000, 4096, 0, 8, 0, 0, 0)) == 4096


def test_the_fastest_segment_of_a_transfer_counts() -> None:
    """A chip that is clocked too fast answers a bit late: 0x11 as 0x88, as the line was high."""

    class Slow(Counting):
        spi_max_hz = 500_000

    spi = Spi(Slow())
    rows = [(0x300, 0x400, 1, 0, 0, 1, 0, 0), (0x300, 0x401, 1, 500_001, 0, 1, 0, 0)]
    assert spi.message(*rows, (0x300, 0x402, 1, 500_000, 0, 0, 0, 0)) == 3
    assert spi.caller.peek(Range(0x400, 3)) == b"\x11\x88\x11"
    spi.message((0x300, 0x400, 1, 600_000, 0, 0, 0, 0), (0x300, 0, 1, 1, 0, 0, 0, 0))
    assert spi.caller.peek(Range(0x400, 1)) == b"\x88"
    spi.put(0x40046B04, 600_000, 4)
    assert spi.caller.file.read(1) == b"\x88"
