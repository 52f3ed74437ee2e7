"""The script that decides about a version on trial, with stand-ins for the agent and a restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.programs.appliance.scripts import Pi


@pytest.fixture
def pi(tmp_path: Path) -> Pi:
    pi = Pi(tmp_path)
    script = pi.install("trial")
    text = script.read_text().replace("/proc/sysrq-trigger", f"{tmp_path}/restarted")
    script.write_text(text.replace("SPARE=60", "SPARE=0"))
    pi.install_library()
    pi.program("piimage-agent", f'echo "$@" >>{tmp_path}/agent')
    pi.write("run/piimage/boot", "PIIMAGE_SLOT_PARTITION='3'\nPIIMAGE_TRYBOOT='1'\n")
    return pi


def state(pi: Pi, text: str) -> None:
    pi.write("data/piimage/system/state", f"{text}TO='3'\nDEADLINE='0'\nNOTE='a b'\n")


@pytest.mark.parametrize("name", ["armed", "trying"])
def test_a_version_on_trial_is_decided_by_the_agent(pi: Pi, name: str) -> None:
    state(pi, f"STATE='{name}'\n")
    assert pi.run("trial").returncode == 0
    assert (pi.root / "agent").read_text() == "trial\n"


@pytest.mark.parametrize("name", ["receiving", "written", "kept", "undone", ""])
def test_otherwise_nothing_is_started(pi: Pi, name: str) -> None:
    state(pi, f"STATE='{name}'\n")
    assert pi.run("trial").returncode == 0
    assert not (pi.root / "agent").exists()
    assert not (pi.root / "restarted").exists()


def test_a_trial_that_nobody_ends_is_ended_by_a_restart(pi: Pi) -> None:
    state(pi, "STATE='armed'\n")
    pi.sh(f"busybox sh {pi.root}/usr/lib/piimage/trial; sleep 0.3")
    assert (pi.root / "restarted").read_text() == "b\n"


def test_a_version_that_was_kept_is_not_restarted(pi: Pi) -> None:
    state(pi, "STATE='armed'\n")
    pi.write("run/piimage/system-kept", "")
    pi.sh(f"busybox sh {pi.root}/usr/lib/piimage/trial; sleep 0.3")
    assert not (pi.root / "restarted").exists()


def test_the_old_version_starts_no_guard(pi: Pi) -> None:
    pi.write("run/piimage/boot", "PIIMAGE_SLOT_PARTITION='2'\nPIIMAGE_TRYBOOT='0'\n")
    state(pi, "STATE='trying'\n")
    pi.sh(f"busybox sh {pi.root}/usr/lib/piimage/trial; sleep 0.3")
    assert (pi.root / "agent").exists()
    assert not (pi.root / "restarted").exists()


@pytest.mark.parametrize(("own", "guarded"), [("b/", True), ("a/", False)])
def test_a_folder_on_trial_has_a_guard_too(pi: Pi, own: str, guarded: bool) -> None:
    facts = f"PIIMAGE_SLOT_PARTITION='1'\nPIIMAGE_SLOT_PREFIX='{own}'\nPIIMAGE_TRYBOOT='1'\n"
    pi.write("run/piimage/boot", facts)
    pi.write("data/piimage/system/state", "STATE='armed'\nTO='b/'\nDEADLINE='0'\n")
    pi.sh(f"busybox sh {pi.root}/usr/lib/piimage/trial; sleep 0.3")
    assert (pi.root / "restarted").exists() == guarded
