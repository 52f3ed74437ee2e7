"""The host key that the file asks for lies in the data partition alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from piimage.card.hostkey import make_host_key, read_host_key
from piimage.config.models import Appliance, Ssh
from piimage.plan.slot import _data_files
from piimage.run import Runner


def test_a_card_has_it_where_sshd_looks(tmp_path: Path, runner: Runner) -> None:
    path = tmp_path / "key"
    make_host_key(path, runner)
    appliance = Appliance(ssh=Ssh(host_key=str(path)))
    files = dict(_data_files(appliance))
    key = files["ssh/dropbear_ed25519_host_key"]
    assert (key.content, key.mode) == (read_host_key(path).private, 0o600)
    assert files["ssh"].mode == 0o700


@pytest.mark.parametrize("path", [None])
def test_without_one_sshd_makes_its_own(path: None) -> None:
    assert "ssh" not in dict(_data_files(Appliance(ssh=Ssh(host_key=path))))
