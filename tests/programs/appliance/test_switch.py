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
    pi.write("run/piimage/boot", f"PIIMAGE_SLOT={tmp_path}/slot\nPIIMAGE_SLOT_CONTAINERS=aaa\n")
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
    pi.path("data/piimage/generations/x")
    return pi


def init_requests(pi: Pi) -> list[str]:
    path = pi.root / "initctl"
    return path.read_text().splitlines() if path.exists() else []


def test_only_what_differs_is_stopped_and_started(pi: Pi) -> None:
    pi.write("run/piimage/services/changes/exit", "7\n")
    done = pi.run("switch", "bbb")
    assert done.returncode == 0, done.stderr
    assert init_requests(pi) == ["stop changes", "start changes"]
    assert (pi.root / "run/piimage/containers").readlink() == Path("layers/bbb")
    assert not (pi.root / "run/piimage/services/changes/exit").exists()
    assert not (pi.root / "run/piimage/health/changes").exists()
    assert (pi.root / "run/piimage/health/same").exists()
    assert "changed: changes" in pi.console()[-1]


def test_the_bridge_is_that_of_the_new_layer_before_what_changed_starts(pi: Pi) -> None:
    pi.run("switch", "bbb")
    assert (pi.root / "bridged").read_text().splitlines() == [
        f"use {pi.root}/run/piimage/layers/bbb", "stop changes",
    ]  # fmt: skip


def test_what_was_stopped_by_hand_stays_stopped_when_stanzas_are_read_anew(pi: Pi) -> None:
    pi.write("run/piimage/layers/bbb/finit.d/new.conf", "service new")
    pi.write("run/piimage/layers/bbb/services/new/config.json", "1")
    pi.write("run/piimage/services/new/exit", "7\n")  # of one that was there before
    assert pi.run("switch", "bbb").returncode == 0
    assert init_requests(pi) == ["stop changes", "reload", "stop rests", "start changes"]
    assert not (pi.root / "run/piimage/services/new/exit").exists()


def test_the_next_boot_stays_as_it_is_until_a_generation_is_kept(pi: Pi) -> None:
    pi.write("data/piimage/generations/one/containers", "bbb\n")
    assert pi.run("switch", "bbb").returncode == 0
    assert not (pi.root / "data/piimage/current.aaa").is_symlink()
    assert pi.run("switch", "--keep", "one", "slot").returncode == 0
    assert (pi.root / "data/piimage/current.aaa").readlink() == Path("generations/one")
    assert (pi.root / "data/piimage/current.aaa/good").exists()
    assert not (pi.root / "data/piimage/previous.aaa").is_symlink()


def test_the_way_back_is_what_the_caller_says_ran(pi: Pi) -> None:
    for name in ("one", "two"):
        pi.write(f"data/piimage/generations/{name}/containers", "bbb\n")
    pi.run("switch", "--keep", "two", "one")
    assert (pi.root / "data/piimage/previous.aaa").readlink() == Path("generations/one")
    pi.run("switch", "--keep", "slot", "two")
    assert not (pi.root / "data/piimage/current.aaa").is_symlink()
    assert (pi.root / "data/piimage/previous.aaa").readlink() == Path("generations/two")


def test_what_is_not_there_is_not_kept(pi: Pi) -> None:
    done = pi.run("switch", "--keep", "gone", "slot")
    assert done.returncode == 1
    assert "there is no generation gone" in done.stderr
    assert not (pi.root / "data/piimage/current.aaa").is_symlink()


def test_a_layer_that_is_missing_stops_nothing(pi: Pi) -> None:
    done = pi.run("switch", "ccc")
    assert done.returncode == 1
    assert "are not complete" in done.stderr
    assert init_requests(pi) == []


def test_layers_whose_files_were_removed_are_unmounted(pi: Pi) -> None:
    pi.write("slot/layers/aaa.squashfs", "")
    pi.write("data/piimage/layers/bbb.squashfs", "")
    pi.path("run/piimage/layers/ccc/x")
    pi.run("switch", "--forget")
    assert (pi.root / "unmounted").read_text() == f"{pi.root}/run/piimage/layers/ccc\n"
