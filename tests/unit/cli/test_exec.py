"""The command of `piimage exec` as the host gets it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from piimage.cli import exec as verb
from piimage.cli import main as cli
from piimage.deploy.hosts import Host, parse_host


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """Collect the commands; nothing connects to a host."""
    commands: list[Sequence[str]] = []

    def terminal(
        name: str, _: object, __: object, command: Callable[[Host], Sequence[str]], **___: object
    ) -> None:
        commands.append(command(parse_host(name)))

    monkeypatch.setattr(verb, "terminal", terminal)
    return commands


@pytest.mark.parametrize(
    ("program", "command"),
    [
        (["sh", "-c", "ls /data; id"], "hello sh -c 'ls /data; id'"),
        (["ls", "--verbose", "-v", "--help"], "hello ls --verbose -v --help"),
        (["--", "sh", "-c", "id"], "hello sh -c id"),
        (["env", "--", "id"], "hello env -- id"),
    ],
)
def test_everything_after_the_service_belongs_to_the_program(
    program: list[str], command: str, sent: list[Sequence[str]]
) -> None:
    assert cli.execute(["exec", "-v", "greenhouse.local", "hello", *program]) == 0
    assert sent == [["piimage-agent exec", command]]


def test_a_docker_engine_gets_the_same_program(sent: list[Sequence[str]]) -> None:
    host = "docker+ssh://greenhouse.local/run/docker.sock"
    assert cli.execute(["exec", host, "hello", "sh", "-c", "id"]) == 0
    assert sent == [["docker -H unix:///run/docker.sock exec -i hello sh -c id"]]


def test_an_option_between_host_and_service_is_refused(
    sent: list[Sequence[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.execute(["exec", "greenhouse.local", "-v", "hello", "id"]) == 2
    assert "options go before HOST" in capsys.readouterr().err
    assert sent == []
