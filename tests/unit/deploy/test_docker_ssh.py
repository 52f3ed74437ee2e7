from __future__ import annotations

import pytest

from piimage.deploy.docker_ssh import engine_client, parse_address
from piimage.deploy.text import printable
from piimage.errors import InputError, PiimageError
from piimage.run import Runner


@pytest.mark.parametrize(
    ("text", "destination", "port"),
    [
        ("docker+ssh://pi@shed", "pi@shed", None),
        ("docker+ssh://shed:2222", "shed", 2222),
        ("docker+ssh://pi@shed:22/", "pi@shed", 22),
    ],
)
def test_addresses(text: str, destination: str, port: int | None) -> None:
    host = parse_address(text, Runner())
    assert (host.destination, host.port) == (destination, port)


def test_a_path_names_another_socket() -> None:
    assert parse_address("docker+ssh://shed", Runner()).socket == "/var/run/docker.sock"
    text = "docker+ssh://shed/run/user/1000/docker.sock"
    assert parse_address(text, Runner()).socket == "/run/user/1000/docker.sock"


@pytest.mark.provokes("deploy.address")
@pytest.mark.parametrize(
    "text",
    ["ssh://pi@shed", "docker+ssh://", "docker+ssh://-oProxyCommand=x", "docker+ssh://a b",
     "docker+ssh://pi@-x", "docker+ssh://shed/a b", "docker+ssh://shed:port"],
)  # fmt: skip
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is no address of an engine"):
        parse_address(text, Runner())


@pytest.mark.provokes("deploy.unreachable")
def test_a_machine_that_is_not_there_is_named_with_what_ssh_said() -> None:
    host = parse_address("docker+ssh://nobody@127.0.0.1:1", Runner())
    with pytest.raises(PiimageError) as caught, engine_client(host):
        pass
    assert caught.value.code == "deploy.unreachable"
    assert "refused" in caught.value.message and caught.value.place == "nobody@127.0.0.1"


def test_what_could_steer_a_terminal_is_written_out() -> None:
    assert printable("a\x1b[2J\tb\r\u202e") == "a\\x1b[2J\tb\\r\\u202e"
