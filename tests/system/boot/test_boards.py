"""The examples, booted as their boards from the finished card."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.system.boot.conftest import Command
from tests.system.conftest import Built


@pytest.mark.parametrize(
    ("example", "kind", "slot"),
    [
        # From a card the Pi 4 boots below.
        ("pi4", "usb", "/dev/sda2,"),
        ("zero2w", "card", "/dev/mmcblk0p1 folder a/,"),
    ],
)
def test_a_pi_boots_its_own_slot_a_and_says_hello(
    piimage: Command, built: Built, example: str, kind: str, slot: str
) -> None:
    words = ["run", built(example), "--from", kind, "--disk", "3000"]
    done = piimage([*words, "--until", "HELLO from", "--timeout", "600"])
    assert done.returncode == 0, done.stderr
    assert "piimage: data partition grown from " in done.stdout
    assert "piimage: data file system fills its partition" in done.stdout
    assert "did not load" not in done.stdout
    assert f"piimage: slot {slot} containers from slot" in done.stdout
    assert f"HELLO from {example}" in done.stdout


@pytest.mark.parametrize(
    ("example", "slot"), [("pi4", "/dev/mmcblk0p2,"), ("pi3", "/dev/mmcblk0p1 folder a/,")]
)
def test_the_verb_test_logs_in_to_a_pi_and_reports(
    piimage: Command, project_folder: Path, tmp_path: Path, example: str, slot: str
) -> None:
    report = tmp_path / "report.xml"
    file = project_folder / "examples" / f"{example}.yml"
    done = piimage(["test", "-v", file, "login.yml", "--junit", report, "--timeout", "600"])
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"piimage: slot {slot} containers from slot" in done.stderr
    assert f"HELLO from {example}" in done.stderr
    assert "passed   tasks" in done.stdout
    suite = ET.parse(report).getroot()
    assert (suite.get("failures"), suite.get("skipped")) == ("0", "0")
    names = {case.get("name") for case in suite}
    assert {
        "service hello_world is up",
        "service bmp280 is up",
        "service sshd is up",
        "tasks",
    } <= names
