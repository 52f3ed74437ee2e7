"""What chipmodels.sim reads and writes is what sensor-sim.h says."""

from __future__ import annotations

import errno
import os
import re
import struct
from pathlib import Path

import pytest
from chipmodels.adapter import I2cAdapter, Message, SpiController
from chipmodels.bosch import BoschModel
from chipmodels.clock import VirtualClock
from chipmodels.sim import Buses, Request, SimDevice, bus_number, decode, encode
from hypothesis import given, settings
from hypothesis import strategies as st

from piimage import resources
from tests.examples import examples

HEADER = resources.path("kernel-modules") / "sensor-sim" / "sensor-sim.h"


def i2c(*messages: Message, number: int = 7) -> bytes:
    rows = b"".join(
        struct.pack("<HHI", m.read, m.address, m.length if m.read else len(m.data))
        for m in messages
    )
    head = struct.pack("<IBBHHHI", number, 1, 0, len(messages), messages[0].address, 0, 0)
    return head + rows + b"".join(m.data for m in messages if not m.read)


def spi(select: int, *segments: tuple[bytes, bool]) -> bytes:
    rows = b"".join(struct.pack("<HHI", 2 * released, 0, len(data)) for data, released in segments)
    head = struct.pack("<IBBHHHI", 7, 2, 0, len(segments), select, 3, 1_000_000)
    return head + rows + b"".join(data for data, _ in segments)


def buses() -> Buses:
    clock = VirtualClock()
    chip = BoschModel(clock)
    clock.sleep(1)
    return Buses(I2cAdapter({0x77: chip}), SpiController({1: chip}))


def test_the_layout_is_that_of_the_header() -> None:
    text = HEADER.read_text()
    sizes = {"__le32": 4, "__le16": 2, "__u8": 1}
    found = {
        name: sum(sizes[kind] for kind in re.findall(r"(__le32|__le16|__u8) \w+;", body))
        for name, body in re.findall(r"struct (\w+) \{(.*?)\};", text, re.S)
    }
    assert found == {"sim_request": 16, "sim_segment": 8, "sim_reply": 8}
    assert "#define SIM_BYTES_MAX 65536" in text


def test_a_register_is_read_over_i2c() -> None:
    request = decode(i2c(Message(0x77, b"\xd0"), Message(0x77, length=1, read=True)))
    assert buses().reply(request) == struct.pack("<II", 7, 0) + b"\x58"


def test_a_register_is_read_over_spi() -> None:
    request = decode(spi(1, (b"\xd0", False), (b"\0", False)))
    assert (request.mode, request.speed_hz) == (3, 1_000_000)
    assert buses().reply(request)[8:][1:] == b"\x58"


def test_chip_select_ends_a_transfer() -> None:
    request = decode(spi(1, (b"\xd0", True), (b"\xd0\0", False)))
    assert buses().reply(request)[8:][2:] == b"\x58"


def test_nobody_is_there() -> None:
    request = decode(i2c(Message(0x10, length=1, read=True)))
    assert buses().reply(request) == struct.pack("<II", 7, errno.EREMOTEIO)
    assert Buses().reply(request) == struct.pack("<II", 7, errno.EREMOTEIO)
    assert Buses().reply(decode(spi(0, (b"ab", False))))[8:] == b"\xff\xff"


@given(st.binary(max_size=80))
@settings(max_examples=examples(200))
def test_any_bytes_are_a_request_or_a_value_error(data: bytes) -> None:
    try:
        found = decode(data)
    except ValueError:
        return
    assert isinstance(found, Request)


messages = st.one_of(
    st.builds(Message, st.just(0x77), data=st.binary(max_size=9)),
    st.builds(Message, st.just(0x77), length=st.integers(0, 99), read=st.just(True)),
)


@given(st.lists(messages, min_size=1, max_size=5))
@settings(max_examples=examples(100))
def test_messages_come_through_as_they_were(sent: list[Message]) -> None:
    assert decode(i2c(*sent)).messages == tuple(sent)


@pytest.mark.parametrize("change", [b"\0", b""])
def test_a_request_of_another_length_is_refused(change: bytes) -> None:
    whole = i2c(Message(0x77, b"\xd0"))
    with pytest.raises(ValueError, match="data than its segments"):
        decode(whole + change if change else whole[:-1])


class TestDevice:
    def test_it_answers_what_it_reads(self, tmp_path: Path) -> None:
        node = tmp_path / "node"
        node.write_bytes(i2c(Message(0x77, b"\xd0")))
        device = SimDevice(buses(), node)
        device.answer()
        device.close()
        assert node.read_bytes()[-8:] == encode(7, b"")

    def test_a_request_that_timed_out_is_let_go(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def late(_: int, __: bytes) -> int:
            raise FileNotFoundError(errno.ENOENT, "late")

        (tmp_path / "node").write_bytes(i2c(Message(0x77, b"\xd0")))
        device = SimDevice(buses(), tmp_path / "node")
        monkeypatch.setattr(os, "write", late)
        device.answer()
        device.close()

    def test_it_can_be_waited_for(self, tmp_path: Path) -> None:
        (tmp_path / "node").touch()
        device = SimDevice(buses(), tmp_path / "node")
        assert os.fstat(device.fileno()).st_size == 0
        device.close()


def test_the_bus_is_found_by_its_name(tmp_path: Path) -> None:
    for number, name in enumerate(["SMBus stub driver", "sensor-sim"]):
        (tmp_path / f"i2c-{number + 3}").mkdir()
        (tmp_path / f"i2c-{number + 3}" / "name").write_text(f"{name}\n")
    assert bus_number(devices=tmp_path) == 4
    with pytest.raises(FileNotFoundError, match="not loaded"):
        bus_number("other", tmp_path)
