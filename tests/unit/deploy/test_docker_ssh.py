from __future__ import annotations

from pathlib import Path

import pytest

from piimage.deploy.docker_ssh import EngineHost
from piimage.deploy.hosts import parse_host, read_inventory
from piimage.deploy.ssh import Ssh
from piimage.errors import InputError, PiimageError
from piimage.run import Runner

SOCKET = "/var/run/docker.sock"
ROOTLESS = "/run/user/1000/docker.sock"


@pytest.mark.parametrize(
    ("text", "user", "address", "port", "engine"),
    [
        ("docker+ssh://pi@shed", "pi", "shed", None, SOCKET),
        ("docker+ssh://shed:2222/", None, "shed", 2222, SOCKET),
        (f"docker+ssh://pi@shed{ROOTLESS}", "pi", "shed", None, ROOTLESS),
        ("pi@shed", "pi", "shed", None, None),
    ],
)
def test_addresses(
    text: str, user: str | None, address: str, port: int | None, engine: str | None
) -> None:
    found = parse_host(text)
    assert (found.user, found.address, found.port) == (user, address, port)
    assert found.engine == engine


@pytest.mark.provokes("deploy.bad-host")
@pytest.mark.parametrize(
    "text",
    ["docker+ssh://", "docker+ssh://-oProxyCommand=x", "docker+ssh://a b", "docker+ssh://pi@-x",
     "docker+ssh://shed/a b", "docker+ssh://shed:port"],
)  # fmt: skip
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"is not a host|is not the path of a socket"):
        parse_host(text)


def test_an_inventory_says_which_hosts_have_docker(tmp_path: Path) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text(f"hosts: {{a: {{docker: true}}, b: {{docker: {ROOTLESS}}}, c: {{}}}}")
    assert [host.engine for host in read_inventory(path).choose([])] == [SOCKET, ROOTLESS, None]


@pytest.mark.provokes("deploy.bad-inventory")
def test_an_inventory_that_says_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text("hosts: {a: {docker: 3}}")
    with pytest.raises(InputError, match="neither true nor the path of a socket"):
        read_inventory(path)


@pytest.mark.provokes("deploy.no-connection")
def test_a_machine_that_is_not_there_is_named_with_what_ssh_said() -> None:
    host = EngineHost(Ssh(Runner(), ask=False), parse_host("docker+ssh://nobody@127.0.0.1:1"))
    with pytest.raises(PiimageError, match="refused") as caught, host.client():
        pass
    assert caught.value.code == "deploy.no-connection"
    assert caught.value.place == "nobody@127.0.0.1:1"
