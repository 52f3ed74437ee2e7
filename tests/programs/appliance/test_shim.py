"""What stands before the shim: a shim that lives is not asked by a program in Go."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path

import pytest

from tests.programs.appliance.scripts import Pi, environment

PROGRAM = "shim/containerd-shim-runc-v2"
START = ("-namespace", "services.linuxkit", "-id", "one", "start")


@pytest.fixture
def pi(tmp_path: Path) -> Pi:
    pi = Pi(tmp_path)
    for name in ("lib.sh", "shim.sh", PROGRAM):
        script = pi.install(name)
        shim = pi.root / "bin/containerd-shim-runc-v2"
        script.write_text(script.read_text().replace("/usr/bin/containerd-shim-runc-v2", str(shim)))
    pi.path("run/piimage/services/x")
    pi.path("task/x")
    pi.program(
        "containerd-shim-runc-v2", f'echo "$*" >>{pi.root}/calls; printf unix://{pi.root}/run/s'
    )
    return pi


def shim(pi: Pi, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["busybox", "sh", pi.root / "usr/lib/piimage" / PROGRAM, *words],
        cwd=pi.root / "task", env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip


def calls(pi: Pi) -> list[str]:
    return (pi.root / "calls").read_text().splitlines()


@contextmanager
def lasting(pi: Pi) -> Iterator[None]:
    """Let a task live whose parent is a shim, with a socket."""
    program = pi.path("containerd-shim-runc-v2")
    shutil.copy(Path("/bin/sh").resolve(), program)
    words = [program, "-c", "sleep 1000 & echo $!; wait"]
    listener = socket.socket(socket.AF_UNIX)
    with (
        subprocess.Popen(words, stdout=subprocess.PIPE, process_group=0, text=True) as process,
        listener,
    ):
        assert process.stdout is not None
        pi.write("run/piimage/services/.lasting", process.stdout.readline())
        with chdir(pi.root / "run"):
            listener.bind("s")
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def test_the_first_start_is_the_shims_own(pi: Pi) -> None:
    done = shim(pi, *START)
    assert (done.stdout, done.stderr, done.returncode) == (f"unix://{pi.root}/run/s", "", 0)
    assert calls(pi) == [" ".join(START)]
    assert not (pi.root / "task/address").exists()  # the shim writes it


def test_a_shim_that_lives_is_found_without_another_program(pi: Pi) -> None:
    shim(pi, *START)
    with lasting(pi):
        done = shim(pi, *START)
    address = f"unix://{pi.root}/run/s"
    assert (done.stdout, done.stderr, done.returncode) == (address, "", 0)
    assert (pi.root / "task/address").read_text() == address
    assert len(calls(pi)) == 1


@pytest.mark.parametrize("gone", ["run/s", "run/piimage/services/.address"])
def test_a_shim_whose_socket_is_not_known_is_started(pi: Pi, gone: str) -> None:
    shim(pi, *START)
    with lasting(pi):
        (pi.root / gone).unlink()
        shim(pi, *START)
    assert len(calls(pi)) == 2


def test_a_shim_whose_tasks_have_ended_is_started(pi: Pi) -> None:
    shim(pi, *START)
    with lasting(pi):
        pass
    shim(pi, *START)
    assert len(calls(pi)) == 2


def test_what_is_no_start_is_left_to_the_shim(pi: Pi) -> None:
    shim(pi, *START)
    with lasting(pi):
        assert shim(pi, "-id", "one", "delete").returncode == 0
    assert calls(pi)[1] == "-id one delete"


def test_a_start_that_fails_is_told_and_nothing_is_kept(pi: Pi) -> None:
    pi.program("containerd-shim-runc-v2", "echo no such thing >&2; exit 3")
    done = shim(pi, *START)
    assert (done.stdout, done.stderr, done.returncode) == ("", "no such thing\n", 3)
    assert not (pi.root / "run/piimage/services/.address").exists()
