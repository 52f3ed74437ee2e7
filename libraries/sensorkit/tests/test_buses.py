"""Refusals of the adapter, the meaning of errnos, and the device nodes of buses."""

from __future__ import annotations

import errno
import re
from pathlib import Path

import pytest
import smbus2
from chipmodels.adapter import I2cAdapter, Message, SpiController
from chipmodels.ads1015 import Ads1015Model
from chipmodels.bosch import BoschModel
from chipmodels.clock import VirtualClock
from chipmodels.dump import Dump, DumpError, format_dump, parse_dump, read_dump
from chipmodels.inprocess import ModelSMBus, ModelSpiDev
from chipmodels.lsm303d import Lsm303dModel
from chipmodels.stub import (
    ads1015_contents,
    bosch_contents,
    lsm303d_contents,
    preload,
    tcs3472_contents,
)
from chipmodels.tcs3472 import Tcs3472Model
from hypothesis import given
from hypothesis import strategies as st
from sensor_rig import EXAMPLE_CALIBRATION, EXAMPLE_DATA, Rig
from sensorkit.bus.discovery import SystemPaths, i2c_node, spi_node
from sensorkit.bus.linux import i2c_line
from sensorkit.bus.registers import Line, RdwrRegisters, SmbusRegisters
from sensorkit.errors import BusError


class TestAdapter:
    """drivers/i2c/busses/i2c-bcm2835.c and drivers/i2c/i2c-dev.c."""

    def refused(self, *messages: Message) -> int:
        clock = VirtualClock()
        adapter = I2cAdapter({0x77: BoschModel(clock)})
        clock.sleep(1)
        with pytest.raises(OSError) as caught:
            adapter.transfer(messages)
        assert adapter.log[-1].error == caught.value.errno
        return caught.value.errno or 0

    def test_a_read_must_be_last(self) -> None:
        read = Message(0x77, length=1, read=True)
        assert self.refused(read, Message(0x77, b"\xd0")) == errno.EOPNOTSUPP
        assert self.refused(read, read) == errno.EOPNOTSUPP

    def test_an_absent_chip_is_eremoteio(self) -> None:
        assert self.refused(Message(0x10, b"\0")) == errno.EREMOTEIO

    def test_limits_of_i2c_dev(self) -> None:
        assert self.refused(*[Message(0x77, b"\xd0")] * 43) == errno.EINVAL
        assert self.refused(Message(0x77, length=8193, read=True)) == errno.EINVAL
        assert self.refused() == errno.EINVAL

    def test_a_chip_that_saw_spi_answers_no_more_on_i2c(self) -> None:
        clock = VirtualClock()
        chip = BoschModel(clock)
        clock.sleep(1)
        assert SpiController({0: chip}).transfer(0, b"\xd0\0", 0) == b"\xff\x58"
        with pytest.raises(OSError):
            I2cAdapter({0x77: chip}).transfer([Message(0x77, b"\xd0")])

    def test_spi_modes_and_words_that_the_controller_lacks(self) -> None:
        device = ModelSpiDev(SpiController({}))
        with pytest.raises(OSError):
            device.mode = 0x08  # SPI_LSB_FIRST
        with pytest.raises(OSError):
            device.bits_per_word = 16
        with pytest.raises(OSError):
            device.xfer2([0] * 4097)

    def test_real_smbus2_messages_work(self) -> None:
        rig = Rig()
        rig.chips[0x77] = BoschModel(rig.clock)
        rig.clock.sleep(1)
        bus = ModelSMBus(rig.adapter)
        ask, answer = smbus2.i2c_msg.write(0x77, [0x88]), smbus2.i2c_msg.read(0x77, 24)
        bus.i2c_rdwr(ask, answer)
        assert bytes(answer) == EXAMPLE_CALIBRATION


def test_a_multi_byte_write_to_a_bmp280_is_pairs() -> None:
    clock = VirtualClock()
    chip = BoschModel(clock)
    clock.sleep(1)
    chip.i2c_write(bytes([0xF5, 0x10, 0xF4, 0x57]))
    assert (chip.reg_read(0xF5), chip.reg_read(0xF4)) == (0x10, 0x57)
    chip.i2c_write(bytes([0xF4, 0x00]))
    chip.i2c_write(bytes([0xF4, 0x24, 0xFF]))
    assert chip.reg_read(0xF5) == 0x10


class TestRegisters:
    @pytest.mark.parametrize(
        ("number", "words"),
        [
            (errno.EREMOTEIO, "check wiring, power and address"),
            (errno.ETIMEDOUT, "held low"),
            (errno.EACCES, "no permission"),
            (errno.ENOENT, r"overlays: \[i2c1\]"),
        ],
    )
    def test_an_errno_is_explained(self, number: int, words: str) -> None:
        def failing() -> ModelSMBus:
            raise OSError(number, "x")

        with pytest.raises(BusError, match=words) as caught:
            SmbusRegisters(Line("i2c1", failing), 0x77).read(0xD0, 1)
        assert errno.errorcode[number] in str(caught.value)

    def test_a_bus_that_went_away_is_opened_again(self) -> None:
        rig = Rig()
        opened: list[ModelSMBus] = []

        class Unplugged(ModelSMBus):
            def read_i2c_block_data(self, i2c_addr: int, register: int, length: int) -> list[int]:
                raise OSError(errno.ENODEV, "gone")

        def open_bus() -> ModelSMBus:
            opened.append((ModelSMBus if opened else Unplugged)(rig.adapter))
            return opened[-1]

        rig.chips[0x77] = BoschModel(rig.clock)
        rig.clock.sleep(1)
        registers = SmbusRegisters(Line("i2c1", open_bus), 0x77)
        with pytest.raises(BusError):
            registers.read(0xD0, 1)
        assert registers.read(0xD0, 1) == b"\x58"
        assert len(opened) == 2

    @given(value=st.integers(0, 0xFFFF))
    def test_words_are_high_byte_first_on_both_ways(self, value: int) -> None:
        rig = Rig()
        rig.chips[0x49] = Ads1015Model(rig.clock)
        SmbusRegisters(rig.line, 0x49).write_word(2, value)
        assert RdwrRegisters(rig.line, 0x49).read_word(2) == value
        assert rig.adapter.log[0].messages[0].data == bytes([2, value >> 8, value & 0xFF])


class TestDiscovery:
    """A Pi 4's and a Pi 5's sysfs, as a container sees it."""

    @pytest.fixture
    def paths(self, tmp_path: Path) -> SystemPaths:
        for number, alias, node in [
            (0, "i2c0", "/soc/i2c@7e205000"),
            (1, "i2c1", "/soc/i2c@7e804000"),
        ]:
            folder = tmp_path / f"sys/bus/i2c/devices/i2c-{number}"
            folder.mkdir(parents=True)
            event = f"OF_NAME=i2c\nOF_FULLNAME={node}\nOF_ALIAS_0={alias}\n"
            (folder / "uevent").write_text(event)
        bare = tmp_path / "sys/bus/i2c/devices/i2c-20"
        bare.mkdir()
        (bare / "name").write_text("bcm2835 (i2c@7ef04500)\n")
        spi = tmp_path / "sys/class/spi_master/spi10"
        spi.mkdir(parents=True)
        (spi / "uevent").write_text("OF_FULLNAME=/soc/spi@7e204000\nOF_ALIAS_0=spi0\n")
        symbols = tmp_path / "dt/__symbols__"
        symbols.mkdir(parents=True)
        (symbols / "i2c_arm").write_bytes(b"/soc/i2c@7e804000\0")
        return SystemPaths(tmp_path / "sys", Path("/dev"), tmp_path / "dt")

    @pytest.mark.parametrize(
        ("reference", "node"),
        [
            ("i2c1", "/dev/i2c-1"),
            ("/soc/i2c@7e804000", "/dev/i2c-1"),
            ("i2c@7e205000", "/dev/i2c-0"),
            ("i2c_arm", "/dev/i2c-1"),
            ("i2c@7ef04500", "/dev/i2c-20"),
            ("/dev/i2c-7", "/dev/i2c-7"),
        ],
    )
    def test_i2c(self, paths: SystemPaths, reference: str, node: str) -> None:
        assert i2c_node(reference, paths) == Path(node)

    def test_spi_number_may_differ_from_its_alias(self, paths: SystemPaths) -> None:
        assert spi_node("spi0.1", paths) == Path("/dev/spidev10.1")

    def test_an_unknown_bus_is_an_error_that_names_the_known(self, paths: SystemPaths) -> None:
        with pytest.raises(
            BusError, match=r"no I2C bus 'i2c9' \(these exist: i2c0, i2c1, i2c@7ef04500\)"
        ):
            i2c_node("i2c9", paths)

    def test_a_chip_select_is_needed(self, paths: SystemPaths) -> None:
        with pytest.raises(BusError, match=r"spi0\.0"):
            spi_node("spi0", paths)

    def test_a_missing_bus_is_a_bus_error_at_use(self, tmp_path: Path) -> None:
        line = i2c_line("i2c1", SystemPaths(tmp_path, tmp_path, tmp_path))
        with pytest.raises(BusError, match="none exists"):
            line.run(lambda _: None)


class TestDump:
    BYTES = (
        "     0  1  2  3  4  5  6  7  8  9  a  b  c  d  e  f    0123456789abcdef\n"
        "80: XX XX XX XX XX XX XX XX 70 6b 43 67 18 fc 7d 8e    ????????pkCg??}?\n"
        "f0: 00 00 00 00 57 10 00 65 5a c0 7e ed 00             ....W..eZ?~??   \n"
    )

    def test_bytes_with_heading_text_and_blanks(self) -> None:
        dump = parse_dump(self.BYTES)
        assert not dump.words
        assert dump.values[0x88] == 0x70
        assert 0x80 not in dump.values
        assert dump.values[0xFC] == 0x00
        assert 0xFD not in dump.values

    def test_words(self) -> None:
        heading = "     0,8  1,9  2,a  3,b  4,c  5,d  6,e  7,f\n"
        dump = parse_dump(f"{heading}00: 0034 8385 0080 ff7f XXXX XXXX XXXX XXXX\n")
        assert dump.words
        assert dump.values == {0: 0x0034, 1: 0x8385, 2: 0x0080, 3: 0xFF7F}

    @pytest.mark.parametrize(
        ("line", "words"),
        [
            ("80: 00 01", "2 values where a row has 16"),
            ("80: " + "00 " * 15 + "0g", "'0g' is not a byte"),
            ("81: " + "00 " * 15 + "00", "0x81 is not a multiple of 16"),
            ("80:", "a row is an address"),
            ("80:" + "00 " * 16, "'00' is not a byte"),
            ("100: " + "00 " * 16, "0x100 is above 0xff"),
            ("80: " + "0000 " * 7, "7 values where a row has 8"),
            ("$ i2cdump -y 1 0x76\n$ i2cdump -y 1 0x77", "0x77 after one of 0x76"),
        ],
    )
    def test_a_bad_line_is_named(self, line: str, words: str) -> None:
        good = "70: " + "00 " * 15 + "00"
        with pytest.raises(DumpError, match=words) as caught:
            parse_dump(f"{good}\n{line.rstrip()}\n88: {'0000 ' * 8}\n", "chip.dump")
        assert re.match("chip.dump:[23]: ", str(caught.value))

    @pytest.mark.parametrize(
        "line",
        [
            "12:34:56 pi@host:~ $ i2cdump -y 1 0x77",
            "dc:a6:32:01:02:03",
            "$ i2cdetect -y 1\n"
            "     0  1  2  3  4  5  6  7  8  9  a  b  c  d  e  f\n"
            "00:                         -- -- -- -- -- -- -- -- \n"
            "10: -- -- -- -- -- -- -- -- -- -- -- UU -- -- -- -- \n"
            "70: -- -- -- -- -- -- -- 77                         ",
        ],
    )
    def test_what_stands_before_a_dump_in_a_terminal_is_no_row(self, line: str) -> None:
        assert parse_dump(f"{line}\n{self.BYTES}") == parse_dump(self.BYTES)

    def test_an_empty_dump_is_an_error(self) -> None:
        with pytest.raises(DumpError, match="no register"):
            parse_dump("")

    ROW = "00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f"
    WORDS = "8385 0080 ff7f 0000 0000 0000 0000 0000"

    def test_a_dump_as_copied_from_a_terminal(self) -> None:
        dump = parse_dump(
            "pi@host:~ $ sudo i2cdump -y 1 0x77\n"
            "No size specified (using byte-data access)\n"
            "WARNING! This program can confuse your I2C bus, cause data loss and worse!\n"
            "I will probe file /dev/i2c-1, address 0x77, mode byte\n"
            "Continue? [Y/n] y\n"
            "     0  1  2  3  4  5  6  7  8  9  a  b  c  d  e  f    0123456789abcdef\n"
            f"80: {self.ROW}    ................\n"
            "d0: 58 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00    X...............\n"
            "pi@host:~ $ \n"
        )
        assert dump.values[0x81] == 0x01
        assert dump.values[0xD0] == 0x58
        assert len(dump.values) == 32

    @pytest.mark.parametrize(
        "row",
        [
            f"80: {ROW}", f"80| {ROW}", f"80 {ROW}", f"80 | {ROW}", f"80 : {ROW}",
            f"0080: {ROW}", f"80:  {ROW.replace(' ', '  ')}", f"80: {ROW.upper()}",
            f"    80: {ROW}",
            f"> 80: {ROW}", f"> > 80: {ROW}", f"\x1b[0m80: {ROW}\x1b[K", f"80:\xa0{ROW}",
            f"```text\n80: {ROW}\n```", f"~~~\n80: {ROW}  {'.' * 16}\n~~~", f"\ufeff80: {ROW}\r",
            f"80: {'ff ' * 16}\n80: {ROW}",
        ],
    )  # fmt: skip
    def test_a_row_of_bytes_in_the_forms_that_people_have(self, row: str) -> None:
        assert parse_dump(row) == Dump({0x80 + i: i for i in range(16)}, False)

    def test_the_end_of_a_range_may_have_lost_its_blanks(self) -> None:
        text = "$ i2cdump -y -r 0x7e-0x81 1 0x77\n70: " + " " * 42 + "0e 0f\n80: 00 01\n"
        assert parse_dump(text).values == {0x7E: 14, 0x7F: 15, 0x80: 0, 0x81: 1}
        assert parse_dump("00: 8385 0080 ff7f\n").values == {0: 0x8385, 1: 0x0080, 2: 0xFF7F}

    def test_bytes_beside_words_are_their_low_halves(self) -> None:
        dump = parse_dump(f"00: {self.WORDS}\n00: {self.ROW}\n")
        assert dump.words
        assert (dump.values[0], dump.values[1], dump.values[15]) == (0x8300, 0x0001, 0x000F)

    def test_a_file_of_windows_is_read(self, tmp_path: Path) -> None:
        (tmp_path / "chip.dump").write_bytes(f"80: {self.ROW}\r\n".encode("utf-16"))
        assert read_dump(tmp_path / "chip.dump").values[0x8F] == 15
        (tmp_path / "chip.dump").write_bytes(f"80: {self.ROW}   \xff\xfe\n".encode("latin-1"))
        assert read_dump(tmp_path / "chip.dump").values[0x8F] == 15

    @given(
        values=st.dictionaries(st.integers(0, 255), st.integers(0, 255), min_size=1),
        words=st.booleans(),
    )
    def test_what_is_formatted_is_parsed(self, values: dict[int, int], words: bool) -> None:
        assert parse_dump(format_dump(Dump(values, words))) == Dump(values, words)

    @given(text=st.text(alphabet="0123456789abcdefX:|> \n", max_size=300))
    def test_any_text_is_parsed_or_named(self, text: str) -> None:
        try:
            parse_dump(text)
        except DumpError as error:
            assert error.lines


class StubBus:
    """The kernel's i2c-stub: 256 cells of 16 bits."""

    def __init__(self) -> None:
        self.cells = [0] * 256

    def write_byte_data(self, i2c_addr: int, register: int, value: int) -> None:
        self.cells[register] = self.cells[register] & 0xFF00 | value

    def write_word_data(self, i2c_addr: int, register: int, value: int) -> None:
        self.cells[register] = value


class TestStubContents:
    def test_bmp280_shows_the_worked_example(self) -> None:
        clock, bus = VirtualClock(), StubBus()
        chip = BoschModel(clock)
        clock.sleep(1)
        chip.i2c_write(b"\xf4\x57")
        clock.sleep(1)
        chip.i2c_read(1)
        preload(bus, 0x77, bosch_contents(chip))
        assert bytes(bus.cells[0x88:0xA0]) == EXAMPLE_CALIBRATION
        assert bytes(bus.cells[0xF7:0xFD]) == EXAMPLE_DATA

    def test_aliases_hold_the_same(self) -> None:
        clock, bus = VirtualClock(), StubBus()
        preload(bus, 0x29, tcs3472_contents(Tcs3472Model(clock)))
        assert bus.cells[0x92] == bus.cells[0xB2] == 0x44
        bus = StubBus()
        preload(bus, 0x1D, lsm303d_contents(Lsm303dModel(clock)))
        assert bus.cells[0x0F] == bus.cells[0x8F] == 0x49

    def test_ads1015_words_are_swapped(self) -> None:
        bus = StubBus()
        preload(bus, 0x49, ads1015_contents(Ads1015Model(VirtualClock())))
        assert bus.cells[1] == 0x8385
