"""The examples, booted as their boards from the finished card."""

from __future__ import annotations

import os
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from piimage.board import DiskKind
from piimage.emulator.drive import make_drive
from piimage.emulator.session import Options, boot
from piimage.firmware.manifest import board_of
from piimage.run import Runner
from tests.system.boot.conftest import Command
from tests.system.conftest import Built


@dataclass(frozen=True)
class WithCard(Runner):
    """Puts a card into the slot of the machine that it starts."""

    card: str = ""

    @contextmanager
    def start(
        self, argv: Sequence[str | os.PathLike[str]], **options: Any
    ) -> Iterator[subprocess.Popen[bytes]]:
        more = ("-drive", self.card) if "-kernel" in argv else ()
        with super().start([*argv, *more], **options) as process:
            yield process


def test_a_pi_4_with_the_same_image_on_usb_and_card_runs_from_the_one_that_was_booted(
    built: Built, tmp_path: Path
) -> None:
    image = built("pi4")
    card = make_drive(Runner(), image, tmp_path).option("sd")
    options = Options(disk_size=3 << 30, kind=DiskKind.USB)
    with boot(image, board_of(image), WithCard(card=card), options) as session:
        session.wait_for("HELLO from pi4", 600)
        lines = [line.text for line in session.lines()]
    assert "piimage: slot /dev/sda2, containers from slot" in lines
    starts = (
        "piimage: data partition grown from ",
        "piimage: data file system fills its partition",
    )
    assert [start for start in starts if any(line.startswith(start) for line in lines)] == [*starts]
    assert [line for line in lines if "did not load" in line or "DATA LOST" in line] == []


def test_a_pi_boots_its_own_slot_a_and_says_hello(piimage: Command, built: Built) -> None:
    done = piimage(["run", built("zero2w"), "--until", "HELLO from", "--timeout", "600"])
    assert done.returncode == 0, done.stderr
    assert "piimage: slot /dev/mmcblk0p1 folder a/, containers from slot" in done.stdout
    assert "HELLO from zero2w" in done.stdout


@pytest.mark.parametrize(
    ("example", "slot", "more"),
    [("pi4", "/dev/mmcblk0p2,", []), ("pi3", "/dev/mmcblk0p1 folder a/,", ["runc.yml"])],
)
def test_the_verb_test_logs_in_to_a_pi_and_reports(
    piimage: Command, project_folder: Path, tmp_path: Path, example: str, slot: str, more: list[str]
) -> None:
    report = tmp_path / "report.xml"
    file = project_folder / "examples" / f"{example}.yml"
    done = piimage(["test", "-v", file, "login.yml", *more, "--junit", report, "--timeout", "600"])
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
