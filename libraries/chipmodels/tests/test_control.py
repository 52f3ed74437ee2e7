"""The control of a server: its changes, and its errors for invalid requests."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path

import pytest
from chipmodels.clock import VirtualClock
from chipmodels.control import Control, ControlError, ControlSocket, _address, ask, main, request_of
from chipmodels.cuse import Call
from chipmodels.cuse_i2c import I2cNode
from chipmodels.daemon import placed
from hypothesis import given
from hypothesis import strategies as st


def made() -> tuple[Control, I2cNode]:
    nodes, control = placed(["i2c-7:0x48=ads1015", "spidev0.1=bme280"], VirtualClock()).served()
    node = nodes[0]
    assert isinstance(node, I2cNode)
    return control, node


def test_attributes_are_set_and_got_by_their_path() -> None:
    control, _ = made()
    assert control.answer({"chip": "i2c-7:0x48", "set": {"slow": 3.0}}) == {"value": None}
    assert control.answer({"chip": "i2c-7:0x48", "get": "slow"}) == {"value": 3.0}
    assert control.answer({"chip": "i2c-7:0x48", "call": "power_cycle"}) == {"value": None}


def test_faults_and_unplugging_change_what_the_bus_says() -> None:
    control, node = made()
    opened = node.open()
    opened.ioctl(Call(0x0703, 0x48, b"", 0))  # I2C_SLAVE
    for change in ({"faults": {"nack": 1.0}}, {"faults": {}, "unplugged": True}):
        control.answer({"chip": "i2c-7:0x48"} | change)
        with pytest.raises(OSError):
            opened.read(1)
    control.answer({"chip": "i2c-7:0x48", "unplugged": False})
    assert len(opened.read(1)) == 1
    assert control.answer({"chip": "i2c-7:0x48", "counts": True}) == {"value": {"nack": 1}}


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (
            {"chip": "i2c-9:0x48", "get": "slow"},
            "there is no chip 'i2c-9:0x48'; these exist: i2c-7",
        ),
        ({"chip": "i2c-7:0x48"}, "no action is given; the actions are set, get"),
        ({"chip": "i2c-7:0x48", "jump": 1}, "there is no action 'jump'; the actions are set, get"),
        ({"chip": "i2c-7:0x48", "set": {"fast": 1}}, "Ads1015Model has no 'fast'"),
        ({"chip": "i2c-7:0x48", "faults": {"fire": 1}}, "no fault 'fire'; the faults are bit_flip"),
        ({"chip": "i2c-7:0x48", "get": "nothing"}, "AttributeError"),
        ({"log": "i2c-1"}, "there is no bus 'i2c-1'"),
    ],
)
def test_a_request_that_cannot_be_done_says_why(request_: dict[str, object], words: str) -> None:
    assert words in made()[0].answer(request_)["error"]


@given(
    st.dictionaries(
        st.sampled_from(["chip", "set", "get", "call", "faults", "unplugged", "log", "x"]),
        st.one_of(st.none(), st.text(max_size=5), st.just("i2c-7:0x48"), st.lists(st.integers())),
    )
)
def test_any_request_has_an_answer(request_: dict[str, object]) -> None:
    assert set(made()[0].answer(request_)) <= {"value", "error"}


def test_words_of_the_command_line() -> None:
    words = ["i2c-7:0x77", "source.temperature_celsius=21.5", "nack=0.5", "power_cycle"]
    assert request_of(words) == {
        "chip": "i2c-7:0x77",
        "faults": {"nack": 0.5},
        "set": {"source.temperature_celsius": 21.5},
        "call": "power_cycle",
    }
    assert request_of(["i2c-7"]) == {"log": "i2c-7"}
    assert request_of(["i2c-7:0x77", "unplugged=true"]) == {"chip": "i2c-7:0x77", "unplugged": True}
    assert request_of(["a", "x", "y"]) == {"chip": "a", "call": "y"}
    assert request_of(["a", 'v="b=c"']) == {"chip": "a", "set": {"v": "b=c"}}


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("localhost:7000", ("localhost", 7000)),
        (":7000", ("", 7000)),
        ("/run/chips:7000", None),
        ("7000", None),
        ("chips", None),
        ("chips:x", None),
    ],
)
def test_an_address_is_a_host_with_a_port_or_a_path(
    text: str, address: tuple[str, int] | None
) -> None:
    assert _address(text) == address


def test_the_log_is_given_once_with_all_that_was_on_the_bus(tmp_path: Path) -> None:
    control, node = made()
    opened = node.open()
    opened.ioctl(Call(0x0703, 0x48, b"", 0))
    opened.write(b"\1")
    opened.read(2)
    path = tmp_path / "control"
    served = ControlSocket(path, control)
    threading.Thread(target=lambda: [served.answer() for _ in range(2)], daemon=True).start()
    write = {"address": 0x48, "data": "01", "length": 0, "read": False, "flags": 0}
    read = {"address": 0x48, "data": "", "length": 2, "read": True, "flags": 0}
    assert ask(path, {"log": "i2c-7"}) == [
        {"messages": [write], "error": 0},
        {"messages": [read], "error": 0},
    ]
    assert ask(path, {"log": "i2c-7"}) == []


def test_a_port_takes_several_requests_of_one_caller(capsys: pytest.CaptureFixture[str]) -> None:
    served = ControlSocket("127.0.0.1:0", made()[0])
    address = f"127.0.0.1:{served._socket.getsockname()[1]}"
    threading.Thread(target=lambda: [served.answer() for _ in range(2)], daemon=True).start()
    with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2]))) as s:
        s.sendall(b'{"chip": "i2c-7:0x48", "get": "slow"}\n' * 2)
        with s.makefile() as stream:
            assert [json.loads(stream.readline()) for _ in range(2)] == [{"value": 1.0}] * 2
        s.shutdown(socket.SHUT_WR)
    assert main([address, "i2c-7"]) == 0
    assert capsys.readouterr().out == "[]\n"
    served._socket.close()


def test_a_caller_who_sends_nothing_is_left_after_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience: list[float] = []

    class Silent:
        def __enter__(self) -> Silent:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def makefile(self, _: str) -> Silent:
            return self

        def settimeout(self, seconds: float) -> None:
            patience.append(seconds)

        def __iter__(self) -> Silent:
            raise TimeoutError

    served = ControlSocket(tmp_path / "control", made()[0])
    listening = served._socket
    monkeypatch.setattr(served, "_socket", type("S", (), {"accept": lambda _: (Silent(), "")})())
    served.answer()
    assert patience == [1]
    listening.close()


def test_a_socket_that_was_left_behind_is_replaced(tmp_path: Path) -> None:
    for _ in range(2):
        ControlSocket(tmp_path / "control", made()[0])._socket.close()
    assert (tmp_path / "control").is_socket()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A socket that answers three callers."""
    path = tmp_path / "control"
    served = ControlSocket(path, made()[0])
    threading.Thread(target=lambda: [served.answer() for _ in range(3)], daemon=True).start()
    return path


def test_the_socket_takes_requests_and_the_command_sends_them(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(path), "i2c-7:0x48", "slow=2.5"]) == 0
    assert ask(path, {"chip": "i2c-7:0x48", "get": "slow"}) == 2.5
    assert main([str(path), "i2c-7:0x48", "quick=1"]) == 1
    assert capsys.readouterr() == ("", "Ads1015Model has no 'quick'\n")
    assert main([str(path)]) == 2
    assert capsys.readouterr().err.startswith("usage: chipmodels.control SOCKET PLACE")
    assert main([str(path.parent / "nobody"), "i2c-7"]) == 1


def test_the_socket_answers_what_is_no_request(path: Path) -> None:
    for line in (b"nonsense\n", b"[1]\n"):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(str(path))
            s.sendall(line)
            s.shutdown(socket.SHUT_WR)
            assert "one JSON object" in json.loads(s.recv(1000))["error"]
    with pytest.raises(ControlError):
        ask(path, {"log": "nowhere"})
