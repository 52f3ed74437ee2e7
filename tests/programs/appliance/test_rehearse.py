"""The script that tries a service beside what runs, with a stand-in for runc."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.programs.appliance.scripts import Pi

RUNC = """
shift 2
case $1 in
run)
    while [ $# -gt 1 ]; do [ "$1" != --pid-file ] || pid_file=$2; shift; done
    sh -c "$(cat "$ROOT/task")" &
    echo $! >"$pid_file"
    wait $! ;;
delete) echo "$@" >>"$ROOT/deleted"; kill -9 "$(cat "$ROOT"/run/piimage/rehearsal/one/pid)" ;;
esac
"""


@pytest.fixture
def pi(tmp_path: Path) -> Pi:
    pi = Pi(tmp_path)
    pi.install("rehearse")
    library = pi.install_library()
    # Its namespaces are there only on a Pi.
    library.write_text(library.read_text().replace('nsenter -t "$first" -n "$@"', '"$@"'))
    pi.program("runc", RUNC.replace("$ROOT", str(tmp_path)))
    pi.write("run/piimage/boot", "")
    pi.write("run/piimage/layers/aaa/services/one/layers", "")
    pi.write("run/piimage/layers/aaa/services/one/container.env", "")
    pi.path("run/piimage/rehearsal/.runc/one/x")
    return pi


def verdict(pi: Pi, task: str, settings: str = "", wait: int = 2) -> str:
    """What is said of a service that runs `task`."""
    pi.write("task", task)
    pi.write("run/piimage/layers/aaa/services/one/container.env", settings)
    prepared = pi.run("rehearse", "--prepare", "aaa", "one")
    assert prepared.stdout == f"{pi.root}/run/piimage/layers/aaa/services/one/config.json\n"
    pi.write("run/piimage/rehearsal/one/copies", "")
    done = pi.run("rehearse", "aaa", "one", str(wait))
    assert done.returncode == 0, done.stderr
    assert not (pi.root / "run/piimage/rehearsal/one").exists()
    return done.stdout


def test_one_that_lives_for_a_while_is_well_and_is_ended(pi: Pi) -> None:
    assert verdict(pi, "exec sleep 1000") == ""
    assert "delete --force one" in (pi.root / "deleted").read_text()


def test_one_that_exits_is_told_with_its_code_and_its_last_lines(pi: Pi) -> None:
    task = "for n in 1 2 3 4 5 6; do echo line $n; done; exit 7"
    lines = "".join(f"  line {n}\n" for n in range(2, 7))
    assert verdict(pi, task) == f"it exited with code 7\n{lines}"


def counted(pi: Pi, used: str) -> str:
    """A task that uses processor time for 2 s, and fails."""
    return (
        f"for n in $(seq 20); do echo usage_usec {used} >{pi.root}/used; "
        f"mv {pi.root}/used {pi.root}/sys/fs/cgroup/piimage/rehearsal/one/cpu.stat; "
        "sleep 0.1; done; exit 7"
    )


def test_one_that_waits_for_something_is_well_after_a_second(pi: Pi) -> None:
    pi.write("sys/fs/cgroup/piimage/rehearsal/one/cpu.stat", "")
    assert verdict(pi, counted(pi, "1000")) == ""


def test_one_that_still_computes_is_watched_longer(pi: Pi) -> None:
    pi.write("sys/fs/cgroup/piimage/rehearsal/one/cpu.stat", "")
    assert verdict(pi, counted(pi, "$((n * 100000))")) == "it exited with code 7\n"


@pytest.mark.parametrize(
    ("policy", "expected"), [("no", ""), ("always", "it exited with code 0\n")]
)
def test_one_that_is_done_is_well_if_it_may_be(pi: Pi, policy: str, expected: str) -> None:
    assert verdict(pi, "exit 0", f"RESTART={policy}\n") == expected


def test_one_that_gets_healthy_is_well_at_once(pi: Pi) -> None:
    pi.program("wget", f"[ -e {pi.root}/fine ]")
    settings = "HEALTH_KIND=http\nHEALTH_TARGET=http://x\n"
    assert verdict(pi, f"sleep 1; touch {pi.root}/fine; exec sleep 1000", settings, wait=20) == ""


@pytest.mark.parametrize("settings", ["HEALTH_EVERY=30\n", "HEALTH_EVERY=1\nHEALTH_RETRIES=1\n"])
def test_one_that_never_does_is_told_when_its_time_is_over(pi: Pi, settings: str) -> None:
    pi.program("wget", "exit 1")
    settings += "HEALTH_KIND=http\nHEALTH_TARGET=http://x\n"
    assert "its health check failed for" in verdict(pi, "echo busy; exec sleep 1000", settings)


def test_one_that_prints_without_end_is_neither_stopped_nor_kept(pi: Pi) -> None:
    assert verdict(pi, "exec yes") == ""


def test_what_one_that_was_cut_off_left_is_removed_first(pi: Pi) -> None:
    pi.write("run/piimage/rehearsal/one/pid", "999999999")
    assert verdict(pi, "exec sleep 1000") == ""
    pi.run("rehearse", "--prepare", "aaa", "one")
    assert pi.run("rehearse", "--clean", "aaa", "one").returncode == 0
    assert not (pi.root / "run/piimage/rehearsal/one").exists()
