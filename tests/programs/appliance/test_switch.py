"""The script that changes what runs, with a stand-in for process 1."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.programs.appliance.scripts import Pi

INITCTL = """
echo "$@" >>"$ROOT/initctl"
case $1 in
stop) echo stopped >"$ROOT/run/piimage/services/$2/state" ;;
start) echo waiting >"$ROOT/run/piimage/services/$2/state" ;;
esac
"""

# Notes how it was called, and what process 1 had done by then.
BRIDGE = """#!/bin/sh
echo "$@" >"$ROOT/bridged"
cat "$ROOT/initctl" >>"$ROOT/bridged"
"""


@pytest.fixture
def pi(tmp_path: Path) -> Pi:
    """One service that changes in layer `bbb`, one that does not, one that rests."""
    pi = Pi(tmp_path)
    pi.install("switch")
    pi.install_library()
    pi.program("initctl", INITCTL.replace("$ROOT", str(tmp_path)))
    bridge = pi.write("usr/lib/piimage/bridge", BRIDGE.replace("$ROOT", str(tmp_path)))
    bridge.chmod(0o755)
    pi.write("run/piimage/boot", f"PIIMAGE_SLOT={tmp_path}/slot\n")
    for layer, version in (("aaa", "1"), ("bbb", "2")):
        pi.write(f"run/piimage/layers/{layer}/services/changes/config.json", version)
        for name in ("same", "rests"):
            pi.write(f"run/piimage/layers/{layer}/services/{name}/config.json", "1")
        for name in ("changes", "same", "rests"):
            pi.write(f"run/piimage/layers/{layer}/finit.d/{name}.conf", f"service {name}")
    for name, state in (("changes", "running"), ("same", "running"), ("rests", "stopped")):
        pi.write(f"run/piimage/services/{name}/state", f"{state}\n")
        pi.write(f"run/piimage/health/{name}", "healthy\n")
    (tmp_path / "run/piimage/containers").symlink_to("layers/aaa")
    return pi


def init_requests(pi: Pi) -> list[str]:
    path = pi.root / "initctl"
    return path.read_text().splitlines() if path.exists() else []


def test_only_what_differs_is_stopped_and_started(pi: Pi) -> None:
    pi.write("run/piimage/services/changes/exit", "7\n")
    done = pi.run("switch", "--use", "bbb")
    assert done.returncode == 0, done.stderr
    assert init_requests(pi) == ["stop changes", "start changes"]
    assert (pi.root / "run/piimage/containers").readlink() == Path("layers/bbb")
    assert not (pi.root / "run/piimage/services/changes/exit").exists()
    assert not (pi.root / "run/piimage/health/changes").exists()
    assert (pi.root / "run/piimage/health/same").exists()
    assert "changed: changes" in pi.console()[-1]


def test_the_bridge_is_that_of_the_new_layer_before_what_changed_starts(pi: Pi) -> None:
    pi.run("switch", "--use", "bbb")
    assert (pi.root / "bridged").read_text().splitlines() == [
        f"use {pi.root}/run/piimage/layers/bbb", "stop changes",
    ]  # fmt: skip


def test_what_was_stopped_by_hand_stays_stopped_when_stanzas_are_read_anew(pi: Pi) -> None:
    pi.write("run/piimage/layers/bbb/finit.d/new.conf", "service new")
    pi.write("run/piimage/layers/bbb/services/new/config.json", "1")
    pi.write("run/piimage/services/new/exit", "7\n")  # of one that was there before
    assert pi.run("switch", "--use", "bbb").returncode == 0
    assert init_requests(pi) == ["stop changes", "reload", "stop rests", "start changes"]
    assert not (pi.root / "run/piimage/services/new/exit").exists()


def test_a_file_that_one_of_the_two_lacks_is_a_difference(pi: Pi) -> None:
    pi.write("run/piimage/layers/bbb/services/same/prestart", "true\n")
    pi.write("run/piimage/layers/aaa/services/changes/config.json", "2")
    assert pi.run("switch", "--use", "bbb").returncode == 0
    assert init_requests(pi) == ["stop same", "start same"]


def test_a_layer_that_is_missing_is_not_mounted(pi: Pi) -> None:
    done = pi.run("switch", "--mount", "ccc")
    assert done.returncode == 1
    assert "are not complete" in done.stderr


def test_without_a_verb_nothing_is_done(pi: Pi) -> None:
    done = pi.run("switch", "bbb")
    assert done.returncode == 1
    assert "usage: " in done.stderr
    assert init_requests(pi) == []
