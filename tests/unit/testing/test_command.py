"""The command, with the outcomes given."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

import pytest

from piimage.boards import load_board
from piimage.cli import main as cli
from piimage.cli import test as command
from piimage.config.models import Appliance
from piimage.flash.able import Capabilities
from piimage.testing.report import Outcome

GOOD = Outcome("service hello is up", 1.0)
BAD = Outcome("a <check>", 2.0, failure="it said no")


@dataclass(frozen=True)
class Built:
    appliance: Appliance
    board: object
    name: str
    image: Path


def given(monkeypatch: pytest.MonkeyPatch, *outcomes: Outcome) -> None:
    built = Built(Appliance(), load_board("qemu-virt"), "shed", Path("shed.img"))
    monkeypatch.setattr(command, "read_card_project", lambda *_: built)
    monkeypatch.setattr(command, "build_card", lambda *_: built)
    monkeypatch.setattr(command, "verify", lambda *_, **__: outcomes)


def test_when_all_is_well_the_command_ends_well(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given(monkeypatch, GOOD)
    assert cli.execute(["test", "shed.yml"]) == 0
    assert capsys.readouterr().out == "passed   service hello is up (1.0 s)\n"


@pytest.mark.provokes("testing.failed")
def test_a_failure_is_told_reported_and_the_exit_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    given(monkeypatch, GOOD, BAD)
    report = tmp_path / "out" / "report.xml"
    assert cli.execute(["test", "shed.yml", "--junit", str(report)]) == 1
    output = capsys.readouterr()
    assert "FAILED   a <check> (2.0 s)\n    it said no\n" in output.out
    assert "1 of 2 failed: a <check>" in output.err
    suite = ET.parse(report).getroot()
    assert (suite.get("name"), suite.get("failures")) == ("shed", "1")


@pytest.mark.provokes("secrets.bad-value")
def test_a_secret_is_not_for_a_pi_that_has_its_own(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("precious")
    words = ["--secret", f"token={tmp_path}/token", "--to", "a"]
    assert cli.execute(["test", "shed.yml", *words]) == 2
    assert "the Pi has secrets of its own" in capsys.readouterr().err


@pytest.mark.provokes("secrets.no-value")
def test_a_secret_that_a_service_uses_is_asked_for_before_the_boot(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    given(monkeypatch, GOOD)
    able = Capabilities(wifi=False, settings=frozenset(), secrets=frozenset({"token"}))
    monkeypatch.setattr(command, "capabilities_of", lambda image: able)
    assert cli.execute(["test", "shed.yml"]) == 2
    assert "add --secret token=FILE" in capsys.readouterr().err
    (tmp_path / "token").write_text("precious")
    assert cli.execute(["test", "shed.yml", "--secret", f"token={tmp_path}/token"]) == 0
