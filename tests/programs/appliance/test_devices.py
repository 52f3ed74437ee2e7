"""A container gets the devices that its entry names, by the numbers that they have on this Pi."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.programs.appliance.configured import configure, configured, write_container
from tests.programs.appliance.scripts import Pi

# null(4), full(4): major 1, minor 3; zero: minor 5; full: minor 7.
NULL = {"access": "rw", "allow": True, "major": 1, "minor": 3, "type": "c"}
ZERO = {"access": "rw", "allow": True, "major": 1, "minor": 5, "type": "c"}
CLOSED = {"access": "rwm", "allow": False}
# Looks like the list of rules, as a text or the name of a text.
TRAP = '"devices":[{"access":"rwm","allow":false}'
OWN = {"allow": False, "type": "b", "access": "rwm"}


@pytest.fixture
def pi(tmp_path: Path) -> Pi:
    pi = Pi(tmp_path)
    pi.install_library()
    return pi


def grant(pi: Pi, device: str, kind: str = "c", mode: str = "0600", owner: str = "0:0") -> str:
    return f"grant_device services/web {device} {kind} {mode} {owner} {pi.root}/n/x; "


def with_rules(config: dict[str, Any], *rules: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration with rules behind the first one."""
    copy: dict[str, Any] = json.loads(json.dumps(config))
    listed = copy["linux"]["resources"]["devices"]
    assert listed[0] == CLOSED
    listed[1:1] = rules
    return copy


def test_a_device_is_copied_with_the_numbers_that_it_has_here(pi: Pi) -> None:
    write_container(pi, devices=["/dev/null"])
    done = configure(pi, grant(pi, "/dev/null", "c", "0640", "110:120"))
    node = f"{pi.root}/n/x"
    assert done.stdout.splitlines()[:2] == [f"mknod -m 0640 {node} c 1 3", f"chown 110:120 {node}"]
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"annotations": {"devices": TRAP, TRAP: "é"}, "env": [f"A={TRAP}"]},
        {"resources": {"devices": [OWN]}, "command": ["ü", TRAP]},
    ],
)
def test_the_rule_opens_that_device_and_no_other(pi: Pi, fields: dict[str, Any]) -> None:
    config = write_container(pi, devices=["/dev/null", "/dev/zero"], **fields)
    used, made = configured(pi, grant(pi, "/dev/null") + grant(pi, "/dev/zero"))
    assert used == pi.root / "run/piimage/configured/services/web"
    assert made == with_rules(config, NULL, ZERO)
    assert (used / "config.json").stat().st_mode & 0o077 == 0


def test_a_name_that_leads_to_a_device_means_that_device(pi: Pi) -> None:
    write_container(pi, devices=["/dev/null"])
    (pi.root / "serial0").symlink_to("/dev/full")
    done = configure(pi, grant(pi, f"{pi.root}/serial0"))
    assert done.stdout.startswith(f"mknod -m 0600 {pi.root}/n/x c 1 7\n")


@pytest.mark.parametrize(
    ("path", "kind"), [("/dev/i2c-77", "c"), ("/dev/null", "b"), ("/dev", "c")]
)
def test_a_device_that_is_missing_is_named_and_nothing_starts(pi: Pi, path: str, kind: str) -> None:
    write_container(pi, devices=["/dev/null"])
    done = configure(pi, grant(pi, path, kind))
    assert (done.returncode, done.stdout) == (1, "")
    assert pi.console() == [f"piimage: web: the device {path} is missing"]


def test_what_was_granted_at_the_last_start_is_forgotten(pi: Pi) -> None:
    at = f"{pi.root}/containers/services/web"
    config = write_container(pi, devices=["/dev/null"])
    pi.path("containers/services/web/prestart").unlink()
    used, made = configured(pi, grant(pi, "/dev/null") + f"prepare_host {at} services/web; ")
    assert used == Path(at)
    assert made == config


def test_settings_and_devices_come_together(pi: Pi) -> None:
    config = write_container(pi, devices=["/dev/null"], settings=["A"], env=["PATH=/b"])
    pi.write("data/piimage/provision/settings", "A='two words'\n")
    used, made = configured(pi, grant(pi, "/dev/null"))
    expected = with_rules(config, NULL)
    expected["process"]["env"] = ["PATH=/b", "A=two words"]
    assert made == expected
    assert [path.name for path in used.iterdir()] == ["config.json"]


def test_a_container_whose_rules_have_no_place_is_not_started(pi: Pi) -> None:
    write_container(pi)
    done = configure(pi, grant(pi, "/dev/null"))
    assert done.returncode != 0
    assert "configured" not in done.stdout
