"""The command that reaches a Pi: who logs in, and what may be asked."""

from __future__ import annotations

import os
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
