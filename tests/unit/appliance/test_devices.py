"""A container gets the devices that its entry names, by the numbers that they have on this Pi."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from piimage.oci.models import canonical_json
from tests.unit.appliance.scripts import APPLIANCE, Pi

PROGRAM = APPLIANCE / "rootfs/usr/lib/piimage/with-devices"
CLOSED = {"access": "rwm", "allow": False}
OWN = {"access": "rwm", "allow": True, "type": "b"}
MADE = {"fileMode": 384, "major": 89, "minor": 1, "path": "/dev/i2c-1", "type": "c"}
# As a quoted text it is no list of rules.
TRAP = '"devices":[{"access":"rwm","allow":false}'
CONFIG = {
    "annotations": {"devices": TRAP},
    "linux": {"devices": [MADE], "resources": {"devices": [CLOSED, OWN]}},
    "process": {"args": [TRAP], "env": ["A=1"]},
}


@pytest.fixture
def pi(tmp_path: Path) -> Pi:
    pi = Pi(tmp_path)
    pi.install("lib.sh")
    for name in ("with-devices", "with-settings"):
        # A program line takes one argument, and busybox has to be told its applet.
        words = f"{shutil.which('busybox')} awk -f {PROGRAM.with_name(name)}"
        pi.write(f"usr/lib/piimage/{name}", f'#!/bin/sh\nexec {words} "$@"\n').chmod(0o755)
    pi.path("one/config.json").write_bytes(canonical_json(CONFIG))
    return pi


def say(pi: Pi, script: str) -> subprocess.CompletedProcess[str]:
    """Run `script` as a prestart script is: nodes are not made, but named."""
    stubs = "mknod() { echo mknod $*; }; chown() { echo chown $*; }"
    library = f". {pi.root}/usr/lib/piimage/lib.sh"
    return subprocess.run(
        ["busybox", "sh", "-euc", f"{library}; {stubs}; SETTINGS=; {script}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_device_is_copied_with_the_numbers_that_it_has_here(pi: Pi) -> None:
    node = f"{pi.root}/dev/piimage/services/one/null"
    done = say(pi, f"grant_device services/one /dev/null c 0640 110:120 {node}")
    assert done.stdout.splitlines() == [f"mknod -m 0640 {node} c 1 3", f"chown 110:120 {node}"]
    assert (done.returncode, done.stderr) == (0, "")


def test_the_rule_opens_that_device_and_no_other(pi: Pi) -> None:
    script = (
        f"for a in null zero; do grant_device services/one /dev/$a c 0600 0:0 {pi.root}/n; done;"
        f'configure {pi.root}/one services/one; echo "$REPLY"'
    )
    folder = Path(say(pi, script).stdout.splitlines()[-1])
    assert folder == pi.root / "run/piimage/configured/services/one"
    made = json.loads((folder / "config.json").read_text())
    # null(4): major 1, minor 3; zero: minor 5.
    rules = [
        {"access": "rw", "allow": True, "major": 1, "minor": 3, "type": "c"},
        {"access": "rw", "allow": True, "major": 1, "minor": 5, "type": "c"},
    ]
    assert made["linux"].pop("resources") == {"devices": [CLOSED, *rules, OWN]}
    assert made == {**CONFIG, "linux": {"devices": [MADE]}}
    assert (folder / "config.json").stat().st_mode & 0o077 == 0


def test_a_name_that_leads_to_a_device_means_that_device(pi: Pi) -> None:
    (pi.root / "serial0").symlink_to("/dev/full")
    done = say(pi, f"grant_device services/one {pi.root}/serial0 c 0600 0:0 {pi.root}/n/serial0")
    assert done.stdout.startswith(f"mknod -m 0600 {pi.root}/n/serial0 c 1 7\n")


@pytest.mark.parametrize(
    ("path", "kind"), [("/dev/i2c-77", "c"), ("/dev/null", "b"), ("/dev", "c")]
)
def test_a_device_that_is_missing_is_named_and_nothing_starts(pi: Pi, path: str, kind: str) -> None:
    done = say(pi, f"grant_device services/one {path} {kind} 0600 0:0 {pi.root}/n; echo started")
    assert (done.returncode, done.stdout) == (1, "")
    assert pi.console() == [f"piimage: one: the device {path} is missing"]


def test_what_was_granted_at_the_last_start_is_forgotten(pi: Pi) -> None:
    grant = f"grant_device services/one /dev/null c 0600 0:0 {pi.root}/n"
    script = (
        f"{grant}; MKDIR=; prepare_host {pi.root}/one services/one;"
        f'configure {pi.root}/one services/one; echo "$REPLY"'
    )
    assert say(pi, script).stdout.splitlines()[-1] == f"{pi.root}/one"


def test_settings_and_devices_come_together(pi: Pi) -> None:
    pi.write("data/piimage/provision/settings", "A='two words'\n")
    library = pi.root / "usr/lib/piimage/lib.sh"
    library.write_text(library.read_text().replace("/bin/sh -c", "PATH=/usr/bin:/bin sh -c"))
    script = (
        f"grant_device services/one /dev/null c 0600 0:0 {pi.root}/n; SETTINGS=A;"
        f'configure {pi.root}/one services/one; echo "$REPLY"'
    )
    folder = Path(say(pi, script).stdout.splitlines()[-1])
    made = json.loads((folder / "config.json").read_text())
    assert made["process"]["env"] == ["A=two words"]
    assert made["linux"]["resources"]["devices"][1]["minor"] == 3
    assert [path.name for path in folder.iterdir()] == ["config.json"]


def test_a_configuration_without_the_closing_rule_is_not_started(pi: Pi) -> None:
    bad = {"linux": {"resources": {"devices": [OWN]}}, "process": {"args": [TRAP]}}
    pi.path("one/config.json").write_bytes(canonical_json(bad))
    script = (
        f"grant_device services/one /dev/null c 0600 0:0 {pi.root}/n;"
        f"configure {pi.root}/one services/one; echo started"
    )
    done = say(pi, script)
    assert done.returncode != 0
    assert "started" not in done.stdout
