from __future__ import annotations

import socket

import pytest

from piimage.cli.main import execute
from piimage.emulator.ports import (
    Forward,
    check_free,
    check_tap,
    device_options,
    free_port,
    netdev_option,
)
from piimage.errors import InputError


def test_forwards_are_on_the_loopback_alone() -> None:
    option = netdev_option([Forward(2222, 22), Forward(8080, 80)])
    assert option == ("user,id=net0,hostfwd=tcp:127.0.0.1:2222-:22,hostfwd=tcp:127.0.0.1:8080-:80")
    assert netdev_option([]) == "user,id=net0"


def test_on_a_tap_each_board_has_an_address_of_its_own() -> None:
    assert netdev_option([], "pitap0") == "tap,id=net0,ifname=pitap0,script=no,downscript=no"
    assert device_options(None) == "netdev=net0,mac=b8:27:eb:12:34:56"
    # printf pitap0 | sha256sum, and pitap1
    assert device_options("pitap0") == "netdev=net0,mac=b8:27:eb:c8:96:b8"
    assert device_options("pitap1") == "netdev=net0,mac=b8:27:eb:dd:cb:88"


@pytest.mark.provokes("emulator.no-tap")
@pytest.mark.parametrize("name", ["no-such-tap", "..", "a,script=/bin/sh", "x" * 16])
def test_a_tap_that_does_not_exist_is_refused(name: str) -> None:
    check_tap("lo")
    with pytest.raises(InputError, match="--tap"):
        check_tap(name)


@pytest.mark.provokes("emulator.tap-and-port")
def test_a_tap_and_a_forwarded_port_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["run", "a.img", "--tap", "lo", "--ssh-port", "2222"]) == 2
    assert "emulator.tap-and-port" in capsys.readouterr().err


@pytest.mark.provokes("emulator.port-taken")
def test_a_port_in_use_is_refused() -> None:
    check_free([Forward(free_port(), 22)])
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with pytest.raises(InputError, match="--ssh-port") as caught:
            check_free([Forward(listener.getsockname()[1], 22)])
    assert caught.value.code == "emulator.port-taken"
    with pytest.raises(InputError, match="70000"):
        check_free([Forward(70000, 80)])
