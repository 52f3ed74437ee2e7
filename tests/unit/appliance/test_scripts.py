"""What holds for all scripts that land on the Pi."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from piimage import resources
from tests.unit.appliance.scripts import APPLIANCE

SCRIPTS = sorted(
    path
    for folder in (APPLIANCE, resources.path("services"))
    for path in folder.rglob("*")
    if path.is_file() and path.read_bytes().startswith((b"#!/bin/sh", b"#!/bin/busybox sh"))
)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_parses_as_busybox_ash(script: Path) -> None:
    subprocess.run(["busybox", "sh", "-n", script], check=True)


def test_scripts_are_clean_for_shellcheck() -> None:
    assert shutil.which("shellcheck"), "make setup installs shellcheck"
    done = subprocess.run(
        ["shellcheck", "-s", "dash", "-x", "-P", "SCRIPTDIR", "-e", "SC2034", *SCRIPTS],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == ""


def test_programs_of_the_system_can_be_executed() -> None:
    programs = APPLIANCE / "rootfs/usr/lib/piimage"
    modes = {path.name: path.stat().st_mode & 0o111 for path in programs.iterdir()}
    assert {name for name, mode in modes.items() if not mode} == {"lib.sh"}
