"""The checks on a Pi: the real agent on a scratch root, behind a stand-in for ssh."""

from __future__ import annotations

import shlex
import threading
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from piimage.cli import main as cli
from piimage.config.models import Appliance
from piimage.deploy.answers import Service
from piimage.deploy.hosts import Host, parse_host
from piimage.deploy.ssh import Ssh
from piimage.errors import InputError
from piimage.run import Runner
from piimage.testing.pi import Pi, changes
from piimage.testing.report import Outcome
from piimage.testing.source import State
from piimage.testing.verify import verify_pi
from tests.unit.deploy.stand_in import Stand, fake_ssh

HOST = Host("pi", "pi")


def appliance(*checks: dict[str, object], services: str = "web", **more: object) -> Appliance:
    entries = [{"name": name, "use": "hello_world"} for name in services.split()]
    test = {"checks": list(checks), "timeout": "20s"}
    return Appliance.model_validate(
        {"board": "qemu-virt", "services": entries, "test": test} | more
    )


def reaching(folder: Path, pi: Stand, program: str = "exit 0") -> Runner:
    """A runner whose ssh starts the agent, and `program` for any other command.

    `program` finds the words for the Pi in $command.
    """
    script = folder / "pi-shell"
    script.write_text(
        "#!/bin/sh\nfor command; do :; done\n"
        f'case $command in "piimage-agent serve") exec {shlex.join(pi.command())} ;; esac\n'
        f"{program}\n"
    )
    script.chmod(0o755)
    return fake_ssh(folder / "bin", {"pi": f'{script} "$@"'})


def verified(
    folder: Path,
    pi: Stand,
    tested: Appliance,
    program: str = "exit 0",
    timeout: float | None = None,
) -> tuple[Outcome, ...]:
    ssh = Ssh(reaching(folder, pi, program), ask=False)
    return verify_pi(tested, ssh, HOST, timeout=timeout)


@pytest.fixture
def pi(tmp_path: Path) -> Stand:
    return Stand(tmp_path / "pi", web="1")


def test_services_programs_addresses_and_logs_are_checked(tmp_path: Path, pi: Stand) -> None:
    tested = appliance(
        {"run": "uname -m", "expect": "aarch64"},
        {"run": ["ls", "a b"], "service": "web"},
        {"http": "http://127.0.0.1/", "matches": "^page$"},
        {"console": "web printed this"},
        log={"console": True},
    )
    script = (
        f'echo "$command" >>{tmp_path}/asked\n'
        "case $command in *uname*) echo aarch64 ;;\n"
        "wget*) echo '  HTTP/1.1 200 OK' >&2; echo page ;; esac"
    )
    found = verified(tmp_path, pi, tested, script)
    assert [(outcome.name, outcome.failure, outcome.skipped) for outcome in found] == [
        ("the system boots", None, None), ("service web is up", None, None),
        ("log in over SSH", None, None), ("sh -c uname -m", None, None), ("ls a b", None, None),
        ("http://127.0.0.1/", None, None), ("web printed this", None, None),
    ]  # fmt: skip
    calls = (line.partition(" || ")[0] for line in (tmp_path / "asked").read_text().splitlines())
    login, program, inside, _ = map(shlex.split, calls)
    assert login == ["true"]
    assert program == ["sh", "-c", "uname -m"]
    assert inside[0] == "runc"
    assert inside[-4:] == ["exec", "web", "ls", "a b"]


def test_a_service_that_is_not_up_fails_with_the_end_of_its_log(tmp_path: Path, pi: Stand) -> None:
    pi.write("run/piimage/services/web/state", "back-off\n")
    pi.write("run/piimage/services/web/exit", "7\n")
    found = verified(tmp_path, pi, appliance({"run": ["true"]}), timeout=0)
    assert "restarting, after it exited with code 7" in str(found[1].failure)
    assert "its log ends with: web printed this" in str(found[1].failure)
    assert found[2].skipped == "a service is not up"


def test_a_service_that_breaks_during_the_checks_has_failed(tmp_path: Path, pi: Stand) -> None:
    folder = pi.root / "run/piimage/services/web"
    broken = (
        f"[ ${{command%% *}} = true ] || {{ echo 1 >{folder}/restarts; echo 3 >{folder}/exit; }}"
    )
    found = verified(tmp_path, pi, appliance({"run": ["false"]}), broken)
    assert found[1].failure == "it was up, and then: exited with code 3"
    assert found[3].failure is None


def test_a_pi_that_is_gone_after_the_checks_has_failed(tmp_path: Path, pi: Stand) -> None:
    gone = f"[ ${{command%% *}} = true ] || rm {tmp_path}/pi-shell"
    found = verified(tmp_path, pi, appliance({"run": ["false"]}), gone)
    assert "it was up, and then: FAILED" in str(found[1].failure)


def test_a_pi_that_does_not_answer_is_a_failure_in_the_report(tmp_path: Path) -> None:
    ssh = Ssh(fake_ssh(tmp_path / "bin", {}), ask=False)
    found = verify_pi(appliance({"run": ["true"]}), ssh, HOST, timeout=0)
    assert "Connection refused" in str(found[0].failure)
    assert found[1].skipped == "the system did not boot"


def test_a_pi_that_is_still_booting_is_waited_for(
    tmp_path: Path, pi: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its sshd is not there at the first question; its service starts after the third."""
    monkeypatch.setattr("piimage.testing.pi._PAUSE", 0.01)
    health = pi.root / "run/piimage/health/web"
    health.write_text("starting\n")
    calls = tmp_path / "asked"
    runner = reaching(tmp_path, pi)
    script = tmp_path / "pi-shell"
    lines = script.read_text().splitlines(keepends=True)
    late = f"echo x >>{calls}; set -- $(wc -l <{calls})\n"
    late += '[ "$1" -ne 1 ] || { echo "Connection refused" >&2; exit 255; }\n'
    late += f'[ "$1" -ne 4 ] || echo healthy >{health}\n'
    script.write_text("".join([*lines[:2], late, *lines[2:]]))
    found = verify_pi(appliance(), Ssh(runner, ask=False), HOST)
    assert [(outcome.name, outcome.failure) for outcome in found] == [
        ("the system boots", None), ("service web is up", None),
    ]  # fmt: skip
    assert len(calls.read_text().splitlines()) >= 4


def test_a_login_that_is_denied_is_not_tried_again(tmp_path: Path) -> None:
    denied = f"sh -c 'echo x >>{tmp_path}/asked; echo Permission denied >&2; exit 255'"
    ssh = Ssh(fake_ssh(tmp_path / "bin", {"pi": denied}), ask=False)
    found = verify_pi(appliance(), ssh, HOST, timeout=600)
    assert "the login was denied" in str(found[0].failure)
    assert (tmp_path / "asked").read_text() == "x\n"


def test_a_card_for_another_board_is_a_failure(tmp_path: Path, pi: Stand) -> None:
    found = verified(tmp_path, pi, appliance(board="pi4"))
    assert found[0].failure == (
        "pi: the file is for pi4, but this is a qemu-virt; "
        "test the file that the card was built from"
    )


@pytest.mark.provokes("testing.other-services")
def test_a_pi_that_runs_another_file_is_not_waited_for(tmp_path: Path, pi: Stand) -> None:
    source = Pi(
        appliance(services="web other"), Ssh(reaching(tmp_path, pi), ask=False), HOST,
        threading.Event(),
    )  # fmt: skip
    with pytest.raises(InputError, match="does not run other, but web") as caught:
        source.wait_for_boot(0)
    assert caught.value.code == "testing.other-services"


@pytest.mark.provokes("testing.no-agent")
def test_a_docker_engine_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        verify_pi(appliance(), Ssh(Runner()), parse_host("docker+ssh://pi"))
    assert caught.value.code == "testing.no-agent"


def row(state: str, **fields: object) -> Service:
    values: dict[str, object] = {
        "health": "", "restarts": 0, "exit": None, "pid": 1, "seconds": 1.0, "memory": None,
    }  # fmt: skip
    return Service("web", state, **{**values, **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("now", "text"),
    [
        (row("running", health="healthy"), "healthy"),
        (row("running", health="running"), "running"),
        (row("running", health="unhealthy"), "unhealthy"),
        (row("running", health="starting"), "waiting for its health"),
        (row("running", health="running", pid=None), "exited"),
        (row("exited", exit=0, pid=None), "exited with code 0"),
        (row("back-off", exit=7, pid=None), "restarting, after it exited with code 7"),
        (row("waiting", pid=None), "waiting for its start"),
        (row("stopped", pid=None), "stopped"),
    ],
)
def test_a_row_is_put_in_the_words_of_the_console(now: Service, text: str) -> None:
    assert list(changes(None, now)) == [State("web", text)]
    assert list(changes(now, now)) == []


def test_a_restart_between_two_answers_is_an_exit() -> None:
    before, now = row("running", health="running"), row("running", health="running", restarts=1)
    assert list(changes(before, now)) == [
        State("web", "exited with code None"), State("web", "running"),
    ]  # fmt: skip


FILE = """board: qemu-virt
services: [{name: web, use: hello_world}]
test: {checks: [{name: the <page>, run: [cat, page], expect: HELLO}]}
"""


def test_the_command_writes_the_report_of_the_pi_in_labgrids_file(
    tmp_path: Path, pi: Stand, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runner = reaching(tmp_path, pi, 'echo "$*" >>' + f"{tmp_path}/words; echo HELLO")
    monkeypatch.setenv("PATH", runner.environment["PATH"])
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    file, lab, report = (tmp_path / name for name in ("shed.yml", "lab.yaml", "out/report.xml"))
    file.write_text(FILE)
    lab.write_text(
        "targets: {main: {resources: {NetworkService: {address: pi, username: root}},\n"
        "                 drivers: {SSHDriver: {keyfile: key}}}}\n"
    )
    words = ["test", str(file), "--labgrid", str(lab), "--junit", str(report)]
    assert cli.execute(words) == 0, capsys.readouterr()
    assert capsys.readouterr().out.count("passed") == 4
    suite = ET.parse(report).getroot()
    assert (suite.get("name"), suite.get("tests"), suite.get("failures")) == (
        "shed on main", "4", "0",
    )  # fmt: skip
    assert f"-i {tmp_path}/key -o IdentitiesOnly=yes" in (tmp_path / "words").read_text()


@pytest.mark.provokes("testing.one-host")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--inventory", "hosts.yml"], "name 2"),
        (["--to", "a,b"], "name 2"),
        (["--inventory", "hosts.yml", "--labgrid", "x"], "an inventory and a labgrid file"),
    ],
)
def test_exactly_one_pi_has_to_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    options: list[str], message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("shed.yml").write_text(FILE)
    Path("hosts.yml").write_text("hosts: {a: null, b: null}\n")
    assert cli.execute(["test", "shed.yml", *options]) == 2
    assert message in capsys.readouterr().err
