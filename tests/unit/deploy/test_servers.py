"""Update servers as inventories: what is shown of devices, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from piimage.cli import fleet
from piimage.cli.main import execute
from piimage.deploy import servers
from piimage.errors import InputError, PiimageError
from tests.unit.deploy.hawkbit_server import LOGIN, NOW, Hawkbit, hawkbit_server, target


@pytest.fixture
def hawkbit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hawkbit]:
    write_login(tmp_path, monkeypatch, *LOGIN)
    monkeypatch.setattr(fleet.time, "time", lambda: NOW)
    with hawkbit_server() as found:
        found.targets = [
            target("shed"),
            target("barn", "pending", 7300),
            target("new", "unknown", None),
        ]
        found.attributes = {
            "shed": {"hw_boardname": "pi4", "hw_revision": "greenhouse", "sw_version": "2.5.0+aa"},
            "barn": {"hw_boardname": "pi3", "hw_revision": "greenhouse", "sw_version": "1.5.0+bb"},
        }
        found.assigned = {"barn": "2.5.0+aa"}
        yield found


def write_login(folder: Path, monkeypatch: pytest.MonkeyPatch, user: str, password: str) -> Path:
    path = folder / "netrc"
    path.write_text(f"machine 127.0.0.1 login {user} password {password}\n")
    path.chmod(0o600)
    monkeypatch.setenv("NETRC", str(path))
    return path


def status(server: Hawkbit, names: str = "all", *words: str) -> int:
    return execute(["status", names, "--inventory", address(server), *words])


def address(server: Hawkbit) -> str:
    return f"hawkbit+http://127.0.0.1:{server.port}"


def test_the_page_of_a_fleet_has_versions_states_and_last_calls(
    hawkbit: Hawkbit, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(hawkbit) == 0
    shown = capsys.readouterr().out
    assert [line.split() for line in shown.splitlines()] == [
        ["DEVICE", "BOARD", "FILE", "RUNS", "WANTED", "STATE", "LAST", "CALL"],
        ["barn", "pi3", "greenhouse", "1.5.0+bb", "2.5.0+aa", "pending", "2", "h", "ago"],
        ["new", "-", "-", "-", "-", "unknown", "never"],
        ["shed", "pi4", "greenhouse", "2.5.0+aa", "-", "in_sync", "42", "s", "ago"],
        [],
        ["DEVICES", "FILE", "VERSION"],
        ["1", "-", "-"],
        ["1", "greenhouse", "1.5.0+bb"],
        ["1", "greenhouse", "2.5.0+aa"],
    ]
    assert "secret" not in shown


def test_json_has_the_same_for_programs(
    hawkbit: Hawkbit, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(hawkbit, "barn", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "devices": [{
            "name": "barn", "board": "pi3", "file": "greenhouse", "version": "1.5.0+bb",
            "wanted": "2.5.0+aa", "state": "pending", "progress": None, "seen": 7300,
        }],
        "versions": [{"file": "greenhouse", "version": "1.5.0+bb", "devices": 1}],
    }  # fmt: skip


def test_a_fleet_of_several_pages_is_read_to_its_end(hawkbit: Hawkbit) -> None:
    hawkbit.page, hawkbit.targets = 2, [target(f"pi-{number}") for number in range(5)]
    found = servers.open_server(servers.parse_address(address(hawkbit)), LOGIN, lambda: NOW)
    assert [device.name for device in found.devices()] == [f"pi-{n}" for n in range(5)]
    assert sum("/targets?" in line for line in hawkbit.requests) == 3


def test_nothing_of_a_server_can_move_the_cursor_of_a_terminal(
    hawkbit: Hawkbit, capsys: pytest.CaptureFixture[str]
) -> None:
    hawkbit.targets = [target("shed", "\x1b[2Jpending")]
    assert status(hawkbit) == 0
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.provokes("deploy.unknown-host")
def test_a_device_that_the_server_does_not_know_is_named(
    hawkbit: Hawkbit, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(hawkbit, "shed,roof") == 2
    assert "no device has the name 'roof'" in capsys.readouterr().err


@pytest.mark.provokes("deploy.server-login")
def test_a_wrong_password_is_said(
    hawkbit: Hawkbit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    write_login(tmp_path, monkeypatch, "shed", "potato")
    assert status(hawkbit) == 1
    shown = capsys.readouterr().err
    assert "does not accept the login" in shown
    assert "potato" not in shown


@pytest.mark.provokes("deploy.server")
@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"status": 500}, "answers with status 500"),
        ({"status": 302}, "answers with status 302"),
        ({"status": 404}, "has no targets"),
        ({"raw": "nonsense"}, "is not JSON"),
        ({"raw": '{"content": 3, "total": 1}'}, "has no targets"),
        ({"raw": '{"content": [], "total": "many"}'}, "has no targets"),
    ],
)
def test_an_answer_that_is_none_is_said(
    hawkbit: Hawkbit, answer: dict[str, object], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in answer.items():
        setattr(hawkbit, name, value)
    assert status(hawkbit) == 1
    assert message in capsys.readouterr().err


@pytest.mark.provokes("deploy.server")
def test_a_server_that_is_not_there_and_an_answer_without_an_end(
    hawkbit: Hawkbit, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(servers, "_ANSWER_LIMIT", 100)
    assert status(hawkbit) == 1
    assert "does not end" in capsys.readouterr().err
    hawkbit.port = 1
    assert status(hawkbit) == 1
    assert "cannot be reached" in capsys.readouterr().err


@pytest.mark.provokes("deploy.server")
def test_a_goosebit_that_is_none_is_said(
    hawkbit: Hawkbit, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["status", "all", "--inventory", address(hawkbit).replace("hawkbit", "goosebit")]
    assert execute(words) == 1  # the stand-in knows no POST
    assert "deploy.server" in capsys.readouterr().err


@pytest.mark.provokes("deploy.bad-server")
@pytest.mark.parametrize(
    "text",
    [
        "rauc+https://a",
        "hawkbit+https://user:password@a",
        "goosebit+http://a:99999",
        "goosebit+http://",
    ],
)
def test_what_is_no_address_of_a_server_is_refused(text: str) -> None:
    assert servers.is_server(text)
    with pytest.raises(InputError, match="not the address of an update server") as caught:
        servers.parse_address(text)
    assert caught.value.code == "deploy.bad-server"


def test_the_port_and_the_path_are_those_of_the_address() -> None:
    found = servers.parse_address("hawkbit+https://updates.example.org/hawk/")
    assert (found.kind, found.port, found.path) == ("hawkbit", 443, "/hawk")
    assert servers.parse_address("goosebit+http://shed.lan:60053").port == 60053
    assert not servers.is_server("hosts.yml")


@pytest.mark.provokes("deploy.no-login-of-server")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "has no login for 127.0.0.1"),
        ("machine other login a password b\n", "has no login for 127.0.0.1"),
        ("nonsense\n", "cannot be read"),
    ],
)
def test_a_login_comes_from_netrc_alone(
    hawkbit: Hawkbit, tmp_path: Path, content: str | None, message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    path = tmp_path / "netrc"
    path.unlink()
    if content is not None:
        path.write_text(content)
    assert status(hawkbit) == 2
    assert message in capsys.readouterr().err


@pytest.mark.provokes("deploy.only-status")
@pytest.mark.parametrize("verb", ["ps", "logs", "rollback"])
def test_verbs_that_need_a_way_to_the_pi_refuse_a_server(
    hawkbit: Hawkbit, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["web"] if verb == "logs" else []
    assert execute([verb, "all", *more, "--inventory", address(hawkbit)]) == 2
    assert "knows no way to its devices" in capsys.readouterr().err


def test_errors_of_servers_name_the_server(hawkbit: Hawkbit) -> None:
    hawkbit.status = 500
    found = servers.open_server(servers.parse_address(address(hawkbit)), LOGIN, lambda: NOW)
    with pytest.raises(PiimageError) as caught:
        found.devices()
    assert caught.value.place == address(hawkbit)
