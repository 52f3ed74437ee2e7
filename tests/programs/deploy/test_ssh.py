"""The command that reaches a Pi: who logs in, and what may be asked."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from piimage.deploy.hosts import Host
from piimage.deploy.ssh import Ssh
from piimage.run import Runner


def runner(folder: Path, user: str, settings: str = "hostname shed") -> Runner:
    """A runner whose ssh says that the configuration names `user`, as ``ssh -G`` does."""
    (folder / "ssh").write_text(f"#!/bin/sh\necho '{settings}'\necho 'user {user}'\n")
    (folder / "ssh").chmod(0o755)
    return Runner(environment={"PATH": f"{folder}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"})


def test_only_who_may_be_asked_is_asked_for_a_passphrase(tmp_path: Path) -> None:
    """Several hosts at once, or a pipe: a question would wait for ever."""
    host = Host("shed", "shed", user="pi")
    silent = Ssh(runner(tmp_path, "pi"), ask=False).argv(host, None)
    assert silent[silent.index("BatchMode=yes") - 1] == "-o"
    assert "BatchMode=yes" not in Ssh(runner(tmp_path, "pi"), ask=True).argv(host, None)


@pytest.mark.parametrize(("configured", "logs_in"), [("gardener", "gardener"), ("", "root")])
def test_who_logs_in_is_whom_the_configuration_names_else_root(
    tmp_path: Path, configured: str, logs_in: str
) -> None:
    words = Ssh(runner(tmp_path, configured)).argv(Host("shed", "shed"), None)
    assert words[words.index("-l") + 1] == logs_in


def test_ones_own_name_in_the_configuration_means_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ssh -G says it for everybody who has configured nobody."""
    monkeypatch.setattr("piimage.deploy.ssh._local_user", lambda: "alice")
    words = Ssh(runner(tmp_path, "alice")).argv(Host("shed", "shed"), None)
    assert words[words.index("-l") + 1] == "root"


LOCAL = "hostname greenhouse.local"


def answering(names: list[str], address: str | None = "10.0.0.7") -> Callable[[str], str | None]:
    def find(name: str) -> str | None:
        names.append(name)
        return address

    return find


def test_a_name_in_local_is_asked_of_the_network_and_keeps_its_host_key(tmp_path: Path) -> None:
    names: list[str] = []
    ssh = Ssh(runner(tmp_path, "pi", LOCAL), find_address=answering(names))
    words = ssh.argv(Host("greenhouse.local", "greenhouse.local"), None)
    assert names == ["greenhouse.local"]
    assert {"HostName=10.0.0.7", "HostKeyAlias=greenhouse.local"} <= set(words)
    assert words[-1] == "greenhouse.local"
    words = ssh.argv(Host("greenhouse.local", "greenhouse.local", port=2222), None)
    assert "HostKeyAlias=[greenhouse.local]:2222" in words


def test_the_users_own_alias_of_the_key_stays(tmp_path: Path) -> None:
    settings = f"{LOCAL}\nhostkeyalias shed"
    ssh = Ssh(runner(tmp_path, "pi", settings), find_address=answering([]))
    assert "HostKeyAlias=shed" in ssh.argv(Host("g", "g"), None)


def test_a_pinned_host_in_local_keeps_the_pinned_key(tmp_path: Path) -> None:
    ssh = Ssh(runner(tmp_path, "pi", LOCAL), find_address=answering([]))
    words = ssh.argv(Host("g", "greenhouse.local"), tmp_path / "pin")
    assert [word for word in words if word.startswith("HostKeyAlias")] == [
        "HostKeyAlias=piimage-pinned"
    ]
    assert "HostName=10.0.0.7" in words


def test_the_interface_of_a_link_local_address_is_no_token_of_ssh(tmp_path: Path) -> None:
    find = answering([], "fe80::1%eth0")
    words = Ssh(runner(tmp_path, "pi", LOCAL), find_address=find).argv(Host("g", "g"), None)
    assert "HostName=fe80::1%%eth0" in words


@pytest.mark.parametrize(
    ("settings", "address"),
    [
        ("hostname shed", "10.0.0.7"),
        ("hostname shed.localdomain", "10.0.0.7"),
        (f"{LOCAL}\nproxyjump gate", "10.0.0.7"),
        (f"{LOCAL}\nproxycommand nc %h %p", "10.0.0.7"),
        (LOCAL, None),
    ],
)
def test_other_names_are_left_to_ssh(tmp_path: Path, settings: str, address: str | None) -> None:
    ssh = Ssh(runner(tmp_path, "pi", settings), find_address=answering([], address))
    words = ssh.argv(Host("g", "g"), None)
    assert [word for word in words if word.startswith(("HostName=", "HostKeyAlias="))] == []
