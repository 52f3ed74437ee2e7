"""The ioctls of device nodes with a simulated caller's memory: requested ranges, and limits."""

from __future__ import annotations

import struct

import pytest
from chipmodels.adapter import I2cAdapter, SpiController
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
