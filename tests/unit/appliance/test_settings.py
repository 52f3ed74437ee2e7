"""What a card was told reaches the containers that ask for it, and nobody else."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piimage.oci.models import canonical_json
from tests.unit.appliance.scripts import APPLIANCE, Pi

PROGRAM = APPLIANCE / "rootfs/usr/lib/piimage/with-settings"


def configured(env: list[str], names: str, told: dict[str, str]) -> dict[str, object]:
    config = {"annotations": {"env": "x"}, "process": {"args": ["a]"], "env": env, "user": {}}}
    done = subprocess.run(
        ["busybox", "awk", "-f", PROGRAM, "-v", f"names={names}"],
        input=canonical_json(config), env=told, capture_output=True, check=True,
    )  # fmt: skip
    whole = json.loads(done.stdout)
    assert {**whole["process"], "env": env} == config["process"]
    assert whole["annotations"] == {"env": "x"}
    found = whole["process"]["env"]
    assert isinstance(found, list)
    return {"env": found}


def test_what_is_asked_for_and_known_replaces_what_the_file_says() -> None:
    told = {"COLOUR": "green", "PLACE": "shed", "SECRET": "x"}
    env = ["PATH=/bin", "COLOUR=grey", "COLOURS=many", 'Q="]']
    found = configured(env, "COLOUR PLACE MISSING", told)["env"]
    assert found == ["PATH=/bin", "COLOURS=many", 'Q="]', "COLOUR=green", "PLACE=shed"]


def test_what_the_card_does_not_say_stays() -> None:
    assert configured(["A=1"], "A B", {})["env"] == ["A=1"]


@settings(max_examples=25, deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])), st.text(' ]\\"{}a='))
def test_any_text_arrives_as_it_was_said(value: str, other: str) -> None:
    found = configured([f"O={other}"], "V", {"V": value})["env"]
    assert found == [f"O={other}", f"V={value}"]


@pytest.fixture
def pi(tmp_path: Path) -> Pi:
    pi = Pi(tmp_path)
    pi.install("lib.sh")
    # A program line takes one argument, and busybox has to be told its applet.
    program = f'#!/bin/sh\nexec {shutil.which("busybox")} awk -f {PROGRAM} "$@"\n'
    pi.write("usr/lib/piimage/with-settings", program).chmod(0o755)
    return pi


def configure(pi: Pi, names: str, told: dict[str, str]) -> Path:
    lines = "".join(f"{key}={shlex.quote(value)}\n" for key, value in told.items())
    pi.write("data/piimage/provision/settings", lines)
    pi.write("one/config.json", '{"process":{"env":["HOME=/"]}}')
    library = pi.root / "usr/lib/piimage/lib.sh"
    library.write_text(library.read_text().replace("/bin/sh -c", "PATH=/usr/bin:/bin sh -c"))
    script = f'. {library}; SETTINGS="{names}"; configure {pi.root}/one services/one; echo "$REPLY"'
    return Path(pi.sh(script).strip())


def test_the_copy_is_for_root_alone(pi: Pi) -> None:
    folder = configure(pi, "A", {"A": "it's $HOME `x`"})
    file = folder / "config.json"
    assert json.loads(file.read_text())["process"]["env"] == ["HOME=/", "A=it's $HOME `x`"]
    assert file.stat().st_mode & 0o077 == 0
    assert folder.stat().st_mode & 0o077 == 0


def test_no_setting_can_change_what_is_done(pi: Pi) -> None:
    told = {"IFS": "x", "PATH": "/nowhere", "REPLY": "/etc", "SETTINGS": "HOME", "HOME": "/x"}
    folder = configure(pi, "SETTINGS", told)
    assert folder == pi.root / "run/piimage/configured/services/one"
    env = json.loads((folder / "config.json").read_text())["process"]["env"]
    assert env == ["HOME=/", "SETTINGS=HOME"]


def test_who_asks_for_nothing_keeps_its_own_configuration(pi: Pi) -> None:
    assert configure(pi, "", {"A": "x"}) == pi.root / "one"
