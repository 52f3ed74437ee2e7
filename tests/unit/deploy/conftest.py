"""What the tests of deploys share: this computer as the Pi's processor, and ssh to a stand-in."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from piimage.run import Runner
from tests.unit.deploy import stand_in
from tests.unit.deploy.stand_in import Stand, fake_ssh


@pytest.fixture(autouse=True)
def _this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that releases are for the processor of this computer."""
    monkeypatch.setattr("piimage.deploy.pi.MACHINE", stand_in.MACHINE)


@pytest.fixture
def ssh(pi: Stand, tmp_path: Path) -> Runner:
    """A stand-in for ssh that reaches the test's Pi."""
    return fake_ssh(tmp_path / "bin", {"pi": shlex.join(pi.command())})
