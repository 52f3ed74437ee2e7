"""The runners' turns at containerd: how many start at once, and what ends a turn."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest

from piimage import resources
from tests.programs.appliance.runners import pi as pi  # noqa: PLC0414  # a fixture
from tests.programs.appliance.runners import record_calls, running, state, turn
from tests.programs.appliance.scripts import Pi, end, wait_until


def test_what_a_file_says_of_who_holds_the_turn_is_nothing(pi: Pi) -> None:
    """Not even the number of a process that looks like a runner."""
    words = ["busybox", "sh", "-c", "sleep 1000; :", "/usr/lib/piimage/service"]
    with subprocess.Popen(words, process_group=0) as other:
        pi.write("run/piimage/services/.turn0", f"{other.pid}\n")
        with running(pi):
            wait_until(lambda: state(pi) == "running", "the service")
        os.killpg(other.pid, signal.SIGKILL)


def test_a_runner_waits_until_the_turn_of_another_is_over(pi: Pi) -> None:
    calls = record_calls(pi)
    flock = pi.path("bin/flock")
    flock.write_text(f"#!/bin/sh\necho >{pi.root}/waits\nexec {shutil.which('flock')} $*\n")
    flock.chmod(0o755)
    with turn(pi) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with running(pi):
            wait_until((pi.root / "waits").exists, "the wait")
            assert calls() == []
            file.close()
            wait_until(lambda: state(pi) == "running", "the service")


@contextmanager
def leading_shim(pi: Pi) -> Iterator[int]:
    """Run a process that has the name of a shim, as the one of the service `other`."""
    shim = pi.path("containerd-shim-runc-v2")
    shutil.copy(Path("/bin/sh").resolve(), shim)
    with subprocess.Popen([shim, "-c", "sleep 1000; :"], process_group=0) as process:
        pi.write("run/piimage/services/.leader", f"{process.pid} other\n")
        yield process.pid
        os.killpg(process.pid, signal.SIGKILL)


def test_a_shim_that_runs_serves_the_next_task(pi: Pi) -> None:
    calls = record_calls(pi)
    with leading_shim(pi), lead(pi) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with running(pi):
            wait_until(lambda: state(pi) == "running", "the service")
    assert calls()[0] == ["run", "other"]


def test_without_a_shim_starts_go_one_after_another(pi: Pi) -> None:
    """Two shims that begin at once take the same socket."""
    calls = record_calls(pi)
    leader = pi.root / "run/piimage/services/.leader"
    with held_up(pi) as lock:
        assert calls() == []
        lock.close()
        wait_until(lambda: state(pi) == "running", "the service")
        shim, name = leader.read_text().split()
        assert name == "one"
        assert Path(f"/proc/{shim}/comm").read_text() == "containerd-shim\n"
    assert not leader.exists()


def test_a_start_that_has_waited_takes_the_shim_that_began_meanwhile(pi: Pi) -> None:
    """And holds up no other start any more."""
    client, free = pi.root / "bin/micropython", pi.root / "free"
    tries = f"flock -n {pi.root}/run/piimage/services/.leader.lock true && : >{free}\ncase $1 in"
    client.write_text(client.read_text().replace("case $1 in", tries, 1))
    calls = record_calls(pi)
    with held_up(pi) as lock, leading_shim(pi):
        lock.close()
        wait_until(lambda: state(pi) == "running", "the service")
        assert free.exists()
    assert calls()[0] == ["run", "other"]


def test_a_task_whose_leader_has_ended_is_started_with_a_shim_of_its_own(pi: Pi) -> None:
    client = pi.root / "bin/micropython"
    gone = '[ "$5" != other ] && [ "$6" != other ] || exit 4\ncase $1 in'
    client.write_text(client.read_text().replace("case $1 in", gone, 1))
    calls = record_calls(pi)
    with leading_shim(pi), running(pi):
        wait_until(lambda: state(pi) == "running", "the service")
        leader = pi.root / "run/piimage/services/.leader"
        assert leader.read_text().endswith(" one\n")
    assert calls()[:2] == [["run", "other"], ["run"]]


@contextmanager
def held_up(pi: Pi) -> Iterator[BinaryIO]:
    """Run the service `one` while another start has no shim yet; yields the lock of that start."""
    with lead(pi) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with running(pi):
            wait_until((pi.root / "run/piimage/services/one/output").exists, "the pipe")
            yield lock


def lead(pi: Pi) -> BinaryIO:
    """Open the file whose lock is held by the start that has no shim yet."""
    return pi.path("run/piimage/services/.leader.lock").open("ab")


def test_a_turn_ends_with_the_client_and_the_runner_that_are_killed(pi: Pi) -> None:
    pi.program("micropython", f"echo >{pi.root}/hangs; exec sleep 1000")
    with running(pi) as process, turn(pi) as file:
        wait_until((pi.root / "hangs").exists, "the client")
        with pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        fcntl.flock(file, fcntl.LOCK_EX)


def test_a_runner_that_waits_for_containerd_can_be_stopped(pi: Pi) -> None:
    calls = record_calls(pi)
    (pi.root / "run/containerd/containerd.sock").unlink()
    with running(pi) as process:
        wait_until((pi.root / "run/piimage/services/.turn0").exists, "its turn")
        assert end(process) == 0
    assert calls() == []
    assert state(pi) == "stopped"


def test_there_are_as_many_turns_as_processors_if_memory_is_enough(pi: Pi) -> None:
    """Two runners are at containerd at once; with little memory, one."""
    pi.write("sys/devices/system/cpu/online", "0-1\n")
    with turn(pi) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with running(pi):
            wait_until(lambda: state(pi) == "running", "the service")
    functions = pi.root / "usr/lib/piimage/containerd.sh"
    count = f". {functions}; count_turns; echo $TURNS"
    names = f"RUN=/run/piimage NAME=one NAMESPACE=x; . {pi.root}/usr/lib/piimage/lib.sh; NAME=one"
    for online, memory, turns in (("0-3", 425_000, 4), ("0-3", 250_000, 2), ("0", 425_000, 1),
                                  ("0,2", 90_000, 1)):  # fmt: skip
        pi.write("sys/devices/system/cpu/online", f"{online}\n")
        text = (resources.path("appliance") / "rootfs/usr/lib/piimage/containerd.sh").read_text()
        pi.write("proc-meminfo", f"MemTotal:  {memory} kB\n")
        text = text.replace("/proc/meminfo", f"{pi.root}/proc-meminfo")
        functions.write_text(text.replace("/sys/devices", f"{pi.root}/sys/devices"))
        assert pi.sh(f"{names}; {count}").split() == [str(turns)], (online, memory)
