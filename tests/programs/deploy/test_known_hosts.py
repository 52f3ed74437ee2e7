"""piimage's own file of known hosts."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest

from piimage import events
from piimage.deploy.hosts import Host
from piimage.deploy.known_hosts import KnownHosts, default_path, known_name
from piimage.deploy.ssh import Ssh, lost_error
from piimage.run import Runner
from tests.programs.deploy.test_ssh import runner

KEY = "ssh-ed25519 AAAAC3Nz"


@pytest.fixture
def known(tmp_path: Path) -> KnownHosts:
    return KnownHosts(tmp_path / "state" / "piimage" / "known_hosts")


def test_a_key_is_noted_once_for_each_name_and_without_its_comment(known: KnownHosts) -> None:
    for _ in range(2):
        known.add(["shed", "shed.local"], f"{KEY} of the shed")
    assert known.path.read_text() == f"shed {KEY}\nshed.local {KEY}\n"
    assert stat.S_IMODE(known.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(known.path.parent.stat().st_mode) == 0o700


def test_a_second_card_of_the_same_name_leaves_the_key_of_the_first(known: KnownHosts) -> None:
    known.add(["pi4"], KEY)
    known.add(["pi4"], "ssh-ed25519 BBBB")
    assert known.path.read_text() == f"pi4 {KEY}\npi4 ssh-ed25519 BBBB\n"


@pytest.mark.parametrize("name", ["*", "a,b", "a b", "@revoked", "#a", "!a", "|1|x", "", "a\nb"])
def test_what_known_hosts_would_take_for_more_than_a_name_is_not_noted(
    known: KnownHosts, name: str
) -> None:
    known.add([name], KEY)
    assert not known.path.exists()


def test_several_at_once_lose_nothing(known: KnownHosts) -> None:
    names = [f"pi{number}" for number in range(16)]
    threads = [threading.Thread(target=known.add, args=([name], KEY)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(known.path.read_text().split("\n")[:-1]) == sorted(f"{n} {KEY}" for n in names)


def test_a_file_that_cannot_be_written_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    warnings: list[events.Event] = []
    KnownHosts(tmp_path / "file" / "known_hosts").add_or_warn(["pi4"], KEY, warnings.append)
    (warning,) = warnings
    assert isinstance(warning, events.Warning)
    assert "host key could not be noted" in warning.text


def test_it_lies_in_the_state_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """XDG Base Directory Specification 0.8: a relative path counts as none."""
    monkeypatch.setenv("HOME", "/home/ann")
    usual = Path("/home/ann/.local/state/piimage/known_hosts")
    assert default_path({}) == usual
    assert default_path({"XDG_STATE_HOME": "state"}) == usual
    assert default_path({"XDG_STATE_HOME": "/srv"}) == Path("/srv/piimage/known_hosts")


def test_another_port_is_part_of_the_name() -> None:
    assert known_name("shed.local", 22) == "shed.local"
    assert known_name("shed.local", 2222) == "[shed.local]:2222"


@pytest.mark.parametrize(
    ("settings", "port", "name"),
    [
        ("hostname 192.0.2.7\nport 22", None, "192.0.2.7"),
        ("hostname 192.0.2.7\nport 2222", None, "[192.0.2.7]:2222"),
        ("hostname 192.0.2.7\nport 2222", 22, "192.0.2.7"),
        ("hostname 192.0.2.7\nport 2222\nhostkeyalias shed", 2200, "shed"),
    ],
)
def test_a_key_is_noted_under_the_name_that_ssh_looks_up(
    tmp_path: Path, known: KnownHosts, settings: str, port: int | None, name: str
) -> None:
    ssh = Ssh(runner(tmp_path, "x", settings), known_hosts=known)
    ssh.remember(Host("greenhouse", "greenhouse", port=port, host_key=KEY))
    assert known.path.read_text() == f"{name} {KEY}\n"


def test_a_host_whose_key_nobody_pinned_is_not_noted(tmp_path: Path, known: KnownHosts) -> None:
    Ssh(runner(tmp_path, "x"), known_hosts=known).remember(Host("shed", "shed"))
    assert not known.path.exists()


def test_the_known_hosts_of_the_configuration_stay(tmp_path: Path, known: KnownHosts) -> None:
    def files(settings: str) -> str:
        ssh = Ssh(runner(tmp_path, "x", settings), known_hosts=known)
        words = ssh.argv(Host("shed", "shed"), None)
        return next(word for word in words if word.startswith("GlobalKnownHostsFile="))

    ours = f'"{known.path}"'
    assert (
        files("globalknownhostsfile /etc/a /etc/b") == f"GlobalKnownHostsFile=/etc/a /etc/b {ours}"
    )
    assert files("globalknownhostsfile none").split() == ["GlobalKnownHostsFile=", ours]


@pytest.mark.provokes("deploy.host-key")
def test_unknown_changed_and_wrongly_pinned_keys_are_told_apart() -> None:
    host, pinned = Host("shed", "shed"), Host("shed", "shed", host_key=KEY)
    changed = "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed."
    unknown = "No ED25519 host key is known for shed and you have requested strict checking."
    for output, where, message in (
        (unknown, host, "its host key is not known"),
        ("Host key verification failed.", host, "its host key is not known"),
        (changed, host, "its host key has changed"),
        (changed, pinned, "its host key is not the pinned one"),
        (unknown, pinned, "its host key is not the pinned one"),
    ):
        error = lost_error(where, 255, output.encode())
        assert error.code == "deploy.host-key"
        assert error.message == f"{message}: {output}"


def test_the_runner_is_only_asked_where_there_is_a_file_to_write() -> None:
    Ssh(Runner(environment={})).remember(Host("shed", "shed", host_key=KEY))
