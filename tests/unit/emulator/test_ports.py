from __future__ import annotations

import socket

import pytest

from piimage.emulator.ports import Forward, check_free, free_port, netdev_option
from piimage.errors import InputError


def test_forwards_are_on_the_loopback_alone() -> None:
    option = netdev_option([Forward(2222, 22), Forward(8080, 80)])
    assert option == ("user,id=net0,hostfwd=tcp:127.0.0.1:2222-:22,hostfwd=tcp:127.0.0.1:8080-:80")
    assert netdev_option([]) == "user,id=net0"


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
