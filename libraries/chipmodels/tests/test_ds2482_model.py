"""The models of the DS2482 and the DS18B20, as a driver talks to them."""

from __future__ import annotations

import pytest
from chipmodels.clock import VirtualClock
from chipmodels.crc import maxim
from chipmodels.ds18b20 import Ds18b20Model
from chipmodels.ds2482 import Ds2482Model
from chipmodels.target import Nack


class Wire:
    """A 1-Wire bus behind the master, by its commands."""

    def __init__(self, *chips: Ds18b20Model) -> None:
        self.master = Ds2482Model(VirtualClock(), chips=chips)

    def status(self) -> int:
        return self.master.i2c_read(1)[0]

    def reset(self) -> bool:
        self.master.i2c_write(b"\xb4")
        return bool(self.status() & 2)

    def write(self, *values: int) -> None:
        for value in values:
            self.master.i2c_write(bytes([0xA5, value]))

    def read(self, count: int) -> bytes:
        out = bytearray()
        for _ in range(count):
            self.master.i2c_write(b"\x96")
            self.master.i2c_write(b"\xe1\xe1")
            out += self.master.i2c_read(1)
        return bytes(out)

    def search(self, ones: int = 0) -> bytes:
        """Search once, and take 1 at the forks whose number `ones` has as a bit."""
        self.reset()
        self.write(0xF0)
        bits, fork = [], 0
        for _ in range(64):
            wanted = ones >> fork & 1
            self.master.i2c_write(bytes([0x78, wanted << 7]))
            status = self.status()
            fork += not status & 0x60
            bits.append(status >> 7)
        return sum(bit << n for n, bit in enumerate(bits)).to_bytes(8, "little")


def clocked(*serials: int) -> tuple[VirtualClock, list[Ds18b20Model], Wire]:
    clock = VirtualClock()
    chips = [Ds18b20Model(clock, serial=serial) for serial in serials or (0x000005E2FDC3,)]
    return clock, chips, Wire(*chips)


def temperature(wire: Wire) -> float:
    wire.reset()
    wire.write(0xCC, 0xBE)
    data = wire.read(9)
    assert maxim(data[:8]) == data[8]
    return int.from_bytes(data[:2], "little", signed=True) / 16


def test_the_master_after_a_reset_refuses_to_select_a_channel() -> None:
    """By that, drivers tell it from a DS2482-800."""
    _, _, wire = clocked()
    wire.master.i2c_write(b"\xf0")
    assert wire.status() == 0x18
    with pytest.raises(Nack):
        wire.master.i2c_write(b"\xc3\x87")


def test_a_configuration_needs_its_complement() -> None:
    _, _, wire = clocked()
    wire.master.i2c_write(b"\xd2\x11")
    assert wire.master.i2c_read(1) == b"\x00"
    wire.master.i2c_write(b"\xd2\xe1")
    assert wire.master.i2c_read(1) == b"\x01"
    with pytest.raises(Nack):
        wire.master.i2c_write(b"\xe1\x00")


def test_nobody_answers_on_an_empty_bus() -> None:
    wire = Wire()
    assert not wire.reset()
    assert wire.read(1) == b"\xff"


def test_the_number_of_a_lone_chip_is_read_and_found() -> None:
    _, chips, wire = clocked()
    assert chips[0].rom[:7].hex() == "28c3fde2050000"
    assert wire.reset()
    wire.write(0x33)
    assert wire.read(8) == chips[0].rom
    assert wire.search() == chips[0].rom


def test_the_search_finds_each_of_two() -> None:
    _, chips, wire = clocked(0x111111111111, 0x111111111113)
    found = {wire.search(ones) for ones in range(4)}
    assert {chip.rom for chip in chips} <= found


def test_a_conversion_takes_its_time_and_85_degrees_come_before_it() -> None:
    clock, chips, wire = clocked()
    chips[0].celsius = -10.125
    assert temperature(wire) == 85.0
    wire.reset()
    wire.write(0xCC, 0x44)
    clock.sleep(0.74)
    wire.master.i2c_write(b"\x87\x80")
    assert not wire.status() & 0x20  # still busy
    clock.sleep(0.01)
    wire.master.i2c_write(b"\x87\x80")
    assert wire.status() & 0x20
    assert temperature(wire) == -10.125


def test_a_chip_obeys_only_its_own_number() -> None:
    clock, chips, wire = clocked(1, 2)
    chips[0].celsius, chips[1].celsius = 10.0, 20.0
    wire.reset()
    wire.write(0xCC, 0x44)
    clock.sleep(1)
    for chip in chips:
        wire.reset()
        wire.write(0x55, *chip.rom, 0xBE)
        assert wire.read(2) == (round(chip.celsius) * 16).to_bytes(2, "little")
    wire.reset()
    wire.write(0x55, *bytes(8), 0xBE)
    assert wire.read(1) == b"\xff"


def test_resolution_and_alarms_are_kept_once_copied() -> None:
    clock, chips, wire = clocked()
    chips[0].celsius = 18.9375
    wire.reset()
    wire.write(0xCC, 0x4E, 0x10, 0x20, 0x1F)  # 9 bits
    wire.reset()
    wire.write(0xCC, 0x44)
    clock.sleep(0.1)
    assert temperature(wire) == 18.5
    wire.master.power_cycle()
    wire.reset()
    wire.write(0xCC, 0xBE)
    assert wire.read(5)[2:] == b"\x4b\x46\x7f"
    wire.reset()
    wire.write(0xCC, 0x4E, 0x10, 0x20, 0x1F)
    wire.reset()
    wire.write(0xCC, 0x48)
    wire.master.power_cycle()
    wire.reset()
    wire.write(0xCC, 0xB8)
    wire.reset()
    wire.write(0xCC, 0xBE)
    assert wire.read(5)[2:] == b"\x10\x20\x1f"


def test_it_has_a_supply_of_its_own() -> None:
    _, _, wire = clocked()
    wire.reset()
    wire.write(0xCC, 0xB4)
    assert wire.read(1) == b"\xff"
