"""Which host keys the verbs accept, by a real ssh and sshd; the Pi behind it is a stand-in."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from piimage.cli import main as cli
from tests.system.deploy.machines import make_key, sshd
from tests.unit.deploy.stand_in import Stand


@dataclass(frozen=True)
class Machine:
    """A Pi that ssh reaches as `address`, and as `greenhouse` by the configuration."""

    folder: Path
    port: int
    config: Path

    @property
    def address(self) -> str:
        return f"root@127.0.0.1:{self.port}"

    @property
    def key(self) -> str:
        return (self.folder / "host.pub").read_text().strip()

    @property
    def name(self) -> str:
        return f"[127.0.0.1]:{self.port}"

    @property
    def noted(self) -> list[str]:
        path = self.folder / "state/piimage/known_hosts"
        return path.read_text().splitlines() if path.exists() else []

    def ps(self, host: str, *options: str) -> int:
        return cli.execute(["ps", host, "--ssh-config", str(self.config), *options])

    def inventory(self, key: str) -> str:
        """The option for an inventory in which `pinned` has this host key."""
        path = self.folder / "hosts.yml"
        path.write_text(f"hosts: {{pinned: {{address: '{self.address}', host_key: '{key}'}}}}")
        return f"--inventory={path}"

    def note_by_user(self, key: str) -> None:
        (self.folder / "user_known").write_text(f"{self.name} {key}\n")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    # A path with what ssh's configuration gives a meaning to.
    folder = tmp_path / "a b%d"
    folder.mkdir()
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    agent = shlex.join(Stand(tmp_path / "pi", web="1").command())
    # sshd takes the rest of the line as it is.
    with sshd(tmp_path, f"ForceCommand {agent}") as server:
        (folder / "host.pub").write_text((tmp_path / "host.pub").read_text())
        config = folder / "ssh_config"
        config.write_text(
            f"Host greenhouse\n  HostName 127.0.0.1\n  Port {server.port}\n"
            f"Host *\n  IdentityFile {tmp_path}/user\n  IdentitiesOnly yes\n"
            f'  UserKnownHostsFile "{str(folder).replace("%", "%%")}/user_known"\n'
        )
        yield Machine(folder, server.port, config)


def other_key(machine: Machine) -> str:
    make_key(machine.folder / "other")
    return (machine.folder / "other.pub").read_text().strip()


@pytest.mark.provokes("deploy.host-key")
def test_a_host_that_is_unknown_is_not_said_to_have_changed(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert machine.ps(machine.address) == 1
    message = capsys.readouterr().err
    assert "its host key is not known" in message
    assert "changed" not in message
    assert "\\r" not in message
    assert machine.noted == []


@pytest.mark.provokes("deploy.host-key")
def test_a_host_with_another_key_than_before_is_said_to_have_changed(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.note_by_user(other_key(machine))
    assert machine.ps(machine.address) == 1
    message = capsys.readouterr().err
    assert "its host key has changed" in message
    assert "\\r" not in message


def test_a_key_that_was_pinned_once_is_known_to_every_verb(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert machine.ps("pinned", machine.inventory(machine.key)) == 0
    assert machine.noted == [f"{machine.name} {' '.join(machine.key.split()[:2])}"]
    assert machine.ps(machine.address) == 0
    assert machine.ps("greenhouse") == 0
    words = [machine.address, "--ssh-config", str(machine.config)]
    assert cli.execute(["logs", words[0], "web", *words[1:]]) == 0
    assert cli.execute(["status", *words]) == 0
    assert machine.ps("pinned", machine.inventory(machine.key)) == 0
    assert len(machine.noted) == 1
    assert cli.execute(["exec", *words[1:], words[0], "web", "true"]) == 0


def test_a_key_that_the_user_had_of_an_older_card_does_not_matter_then(machine: Machine) -> None:
    machine.note_by_user(other_key(machine))
    assert machine.ps("pinned", machine.inventory(machine.key)) == 0
    assert machine.ps(machine.address) == 0


@pytest.mark.provokes("deploy.host-key")
def test_a_host_with_another_key_than_the_pinned_one_is_not_noted(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert machine.ps("pinned", machine.inventory(other_key(machine))) == 1
    assert "its host key is not the pinned one" in capsys.readouterr().err
    assert machine.noted == []


def test_a_build_notes_the_key_that_it_gives_the_card(
    tmp_path: Path, piimage_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIIMAGE_STORE", str(piimage_store))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    file = tmp_path / "shed.yml"
    file.write_text("board: qemu-virt\nhostname: shed\nssh: {host_key: key}\n")
    assert cli.execute(["build", str(file), "--out", str(tmp_path / "out")]) == 0
    key = " ".join((tmp_path / "key.pub").read_text().split()[:2])
    noted = (tmp_path / "state/piimage/known_hosts").read_text()
    assert noted == f"shed {key}\nshed.local {key}\n"
