"""The verbs that talk to Pis, with stand-ins for ssh and the Pi."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from piimage.cli import main as cli
from piimage.store import Store
from tests.unit.deploy.stand_in import Stand, fake_ssh, release, target


@pytest.fixture
def pis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Stand]:
    found = [Stand(tmp_path / name, one="1", two="1") for name in ("a", "b")]
    commands = {stand.root.name: shlex.join(stand.command()) for stand in found}
    runner = fake_ssh(tmp_path / "bin", commands)
    monkeypatch.setenv("PATH", runner.environment["PATH"])
    return found


def test_ps_is_a_table_with_the_host_where_there_are_several(
    pis: list[Stand], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.execute(["ps", "a"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:4] == ["one", "running", "healthy", "0"]
    assert cli.execute(["ps", "a,b"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        "HOST", "a", "a", "b", "b",
    ]  # fmt: skip


def test_a_host_that_is_off_does_not_hide_the_other(
    pis: list[Stand], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.execute(["ps", "a,gone", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)["hosts"]
    assert [row["name"] for row in found["a"]] == ["one", "two"]
    assert found["gone"]["code"] == "deploy.no-connection"


def test_an_inventory_names_groups(
    pis: list[Stand], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text("hosts: {first: a, second: b}\ngroups: {both: [first, second]}\n")
    assert cli.execute(["status", "both", "--inventory", str(path)]) == 0
    out = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in out] == ["HOST", "first", "second"]
    assert all("2 of 2 up" in line for line in out[1:])


def test_status_of_one_is_a_page(pis: list[Stand], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.execute(["status", "a"]) == 0
    out = capsys.readouterr().out
    assert "board:       qemu-virt" in out
    assert "power:       not reported by this kernel" in out
    assert cli.execute(["status", "a", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["hosts"]["a"]["board"] == "qemu-virt"


def test_logs_of_several_have_their_host_before_each_line(
    pis: list[Stand], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert cli.execute(["logs", "a", "one"]) == 0
    assert capfdbinary.readouterr().out == b"one printed this\n"
    assert cli.execute(["logs", "a,b", "two", "-n", "1"]) == 0
    lines = sorted(capfdbinary.readouterr().out.splitlines())
    assert lines == [b"a | two printed this", b"b | two printed this"]


def write_log(pi: Stand) -> None:
    """The Pi was booted 100 s ago and has not heard of the time of day."""
    pi.write("proc/uptime", "100.00 380.00\n")
    pi.write("var/log/services/one/log", "early\nlater\n")
    pi.write("var/log/times/one/log", "5 0\n95 6\n")


def test_logs_since_count_by_the_clock_of_the_pi(
    pis: list[Stand], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    write_log(pis[0])
    assert cli.execute(["logs", "a", "one", "--since", "30s"]) == 0
    assert capfdbinary.readouterr().out == b"later\n"
    assert cli.execute(["logs", "a", "one", "--since", "10min"]) == 0
    assert capfdbinary.readouterr().out == b"early\nlater\n"


def test_logs_until_leave_out_what_is_newer(
    pis: list[Stand], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    write_log(pis[0])
    assert cli.execute(["logs", "a", "one", "--until", "30s"]) == 0
    assert capfdbinary.readouterr().out == b"early\n"


@pytest.mark.provokes("deploy.bad-span")
def test_a_span_of_time_that_is_none_is_refused(
    pis: list[Stand], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.execute(["logs", "a", "one", "--since", "yesterday"]) == 2
    assert "such as 90s" in capsys.readouterr().err
    assert cli.execute(["logs", "a", "one", "--until", "now"]) == 2
    assert "--until: 'now' is not a time span" in capsys.readouterr().err
    assert cli.execute(["logs", "a", "one", "--until", "1h", "-f"]) == 2
    assert "what is followed has no end" in capsys.readouterr().err


@pytest.mark.provokes("deploy.not-up")
def test_restart_waits_until_it_is_up(pis: list[Stand], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.execute(["restart", "a", "one"]) == 0
    assert pis[0].text("initctl") == "stop one\nstart one\n"
    (pis[0].root / "run/piimage/health/two").write_text("unhealthy\n")
    assert cli.execute(["start", "a", "two"]) == 1
    assert "its health check failed" in capsys.readouterr().err
    assert cli.execute(["stop", "a", "two", "--json"]) == 0


def test_rollback_leads_to_what_ran_before(
    pis: list[Stand],
    store: Store,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    runner = fake_ssh(tmp_path / "bin", {"a": shlex.join(pis[0].command())})
    new = release(store, one="2", two="1")
    target(runner, store, "a", new).deploy(lambda line: None)
    assert pis[0].running == new.containers
    assert cli.execute(["rollback", "a"]) == 0
    assert "a: runs slot; changed: one" in capsys.readouterr().err
    assert pis[0].running == pis[0].slot
    assert cli.execute(["rollback", "a"]) == 0
    assert pis[0].running == new.containers


def test_nothing_before_is_said(pis: list[Stand], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.execute(["rollback", "a"]) == 1
    assert "no earlier version to roll back to" in capsys.readouterr().err


@pytest.mark.provokes("deploy.one-host")
def test_exec_is_for_one_host(pis: list[Stand], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.execute(["exec", "a,b", "one", "true"]) == 2
    assert "2 hosts" in capsys.readouterr().err


def test_exec_and_shell_exit_as_the_program_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = fake_ssh(tmp_path / "bin", {"a": "sh -c 'exit 7'"})
    monkeypatch.setenv("PATH", runner.environment["PATH"])
    assert cli.execute(["exec", "a", "one", "--", "cat", "/x y"]) == 7
    assert cli.execute(["shell", "a"]) == 7


@pytest.mark.provokes("deploy.no-hosts")
def test_a_deploy_to_nowhere_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.execute(["deploy", "pi4.yml"]) == 2
    assert cli.execute(["deploy", "pi4.yml", "--limit", "outdoor"]) == 2
    assert "--inventory" in capsys.readouterr().err


@pytest.mark.provokes("deploy.stopped")
def test_a_roll_out_that_was_stopped_names_who_was_not_begun() -> None:
    from piimage.cli.deploy import _conclude
    from piimage.deploy.rollout import Result
    from piimage.errors import ErrorGroup, PiimageError

    bad = PiimageError("deploy.rolled-back", "no", place="a")
    with pytest.raises(ErrorGroup) as caught:
        _conclude((Result("a", error=bad), Result("b"), Result("c")))
    assert [error.code for error in caught.value.errors] == ["deploy.rolled-back", "deploy.stopped"]
    assert "skipped hosts: b, c" in str(caught.value)
