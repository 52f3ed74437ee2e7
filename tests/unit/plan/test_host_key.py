"""The host key of the file lies in the data partition only."""

from __future__ import annotations

from pathlib import Path

import pytest

from piimage.card.hostkey import make_host_key, read_host_key
from piimage.config.models import Appliance, Ssh
from piimage.plan.slot import data_files
from piimage.run import Runner


def test_a_card_has_the_host_key_at_sshds_path(tmp_path: Path, runner: Runner) -> None:
    path = tmp_path / "key"
    make_host_key(path, runner)
    appliance = Appliance(ssh=Ssh(host_key=str(path)))
    files = dict(data_files(appliance))
    key = files["ssh/dropbear_ed25519_host_key"]
    assert (key.content, key.mode) == (read_host_key(path).private, 0o600)
    assert files["ssh"].mode == 0o700


@pytest.mark.parametrize("path", [None])
def test_a_card_without_a_host_key_leaves_it_to_sshd(path: None) -> None:
    assert "ssh" not in dict(data_files(Appliance(ssh=Ssh(host_key=path))))
