"""Roll-outs to ten machines at once, over real SSH."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from piimage.deploy.link import linked
from piimage.deploy.pi import PiTarget, Wish
from piimage.deploy.release import Release
from piimage.deploy.rollout import Policy, Result, roll_out
from piimage.deploy.ssh import Ssh
from piimage.deploy.target import Outcome
from piimage.errors import PiimageError
from piimage.run import Runner
from piimage.store import Store
from tests.system.deploy.namespaces import Machine, fleet
from tests.unit.deploy import stand_in
from tests.unit.deploy.stand_in import release

COUNT = 10
PIIMAGE = Path(sys.executable).with_name("piimage")


@pytest.fixture(autouse=True)
def _this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("piimage.deploy.pi.MACHINE", stand_in.MACHINE)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[Machine], Path]]:
    with fleet(tmp_path_factory.mktemp("fleet"), COUNT) as found:
        for machine in found[0]:
            _wait(machine, found[1])
        yield found


def _wait(machine: Machine, config: Path) -> None:
    """Wait until its sshd answers."""
    end = time.monotonic() + 60
    while True:
        try:
            with linked(Ssh(Runner(), config, ask=False), machine.host, threading.Event()):
                return
        except PiimageError:
            assert time.monotonic() < end
            time.sleep(0.2)


def _target(machine: Machine, config: Path, store: Store, new: Release) -> PiTarget:
    runner = Runner()
    ssh = Ssh(runner, config, ask=False)
    return PiTarget(machine.host, Wish(new, wait=5), ssh, store, runner, threading.Event())


def _roll(
    machines: tuple[list[Machine], Path], store: Store, new: Release, policy: Policy
) -> tuple[Result[Outcome], ...]:
    targets = [_target(machine, machines[1], store, new) for machine in machines[0]]

    def work(target: PiTarget) -> Outcome:
        return target.deploy(lambda line: None)

    return roll_out(targets, work, policy, threading.Event())


def test_a_bad_version_stops_at_the_canary_and_is_undone_there(
    machines: tuple[list[Machine], Path], store: Store
) -> None:
    results = _roll(
        machines, store, release(store, one="2 crash", two="1"), Policy(canary=1, parallel=4)
    )
    assert results[0].error is not None
    assert results[0].error.code == "deploy.rolled-back"
    assert all(result.skipped for result in results[1:])
    assert all(machine.stand.running == machine.stand.slot for machine in machines[0])
    switched = [(machine.stand.root / "switched").exists() for machine in machines[0]]
    assert switched == [True] + [False] * (COUNT - 1)


def test_a_machine_with_another_host_key_gets_nothing(
    machines: tuple[list[Machine], Path], store: Store
) -> None:
    first, second = machines[0][:2]
    swapped = replace(first, host=replace(first.host, host_key=second.host.host_key))
    with pytest.raises(PiimageError) as caught:
        _target(swapped, machines[1], store, release(store, one="2", two="1")).plan()
    assert caught.value.code == "deploy.host-key"


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[tuple[dict[str, str], str]]:
    """An ssh-agent that holds a key with a passphrase: its environment, and the public key."""
    key = tmp_path / "guarded"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", key], check=True)
    ask = tmp_path / "ask"
    ask.write_text("#!/bin/sh\necho secret\n")
    ask.chmod(0o700)
    socket = str(tmp_path / "agent")
    environment = {**os.environ, "SSH_AUTH_SOCK": socket}
    with subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL) as process:
        try:
            while not Path(socket).exists():
                time.sleep(0.05)
            asking = {**environment, "SSH_ASKPASS": str(ask), "SSH_ASKPASS_REQUIRE": "force"}
            subprocess.run(["ssh-add", "-q", key], env=asking, check=True)
            yield environment, key.with_suffix(".pub").read_text()
        finally:
            process.terminate()


def test_agents_aliases_and_jump_hosts_are_those_of_ssh(
    machines: tuple[list[Machine], Path], agent: tuple[dict[str, str], str], tmp_path: Path
) -> None:
    """A host that only its name in the configuration leads to, through another one."""
    environment, public = agent
    gate, attic = machines[0][:2]
    for machine in (gate, attic):
        machine.allow(public)
    known = "".join(f"{machine.address} {machine.host.host_key}\n" for machine in (gate, attic))
    (tmp_path / "known").write_text(known)
    config = tmp_path / "config"
    config.write_text(
        f"Host gate\n  HostName {gate.address}\n  User root\n"
        f"Host attic\n  HostName {attic.address}\n  ProxyJump gate\n  User root\n"
        f"Host *\n  UserKnownHostsFile {tmp_path}/known\n  StrictHostKeyChecking yes\n"
        "  IdentityFile none\n"
    )
    before = gate.log().count("Accepted publickey")
    words = ["ps", "attic", "--ssh-config", str(config), "--json"]
    done = subprocess.run(
        [PIIMAGE, *words], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [row["name"] for row in json.loads(done.stdout)["hosts"]["attic"]] == ["one", "two"]
    assert gate.log().count("Accepted publickey") == before + 1
    without = {**environment, "SSH_AUTH_SOCK": ""}
    done = subprocess.run(
        [PIIMAGE, *words], env=without, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1
    assert json.loads(done.stdout)["hosts"]["attic"]["code"] == "deploy.no-login"


def test_a_good_version_reaches_all_but_the_one_that_is_off(
    machines: tuple[list[Machine], Path], store: Store
) -> None:
    off = machines[0][3]
    off.switch_off()
    new = release(store, one="2", two="1")
    results = _roll(machines, store, new, Policy(canary=1, parallel=4))
    assert [result.name for result in results if result.outcome is None] == [off.name]
    assert results[3].error is not None
    assert results[3].error.code == "deploy.no-connection"
    for machine in machines[0]:
        assert (machine.stand.running == new.containers) is (machine is not off), machine.name
    off.switch_on()
