"""The service runner, with a stand-in for containerd's client that starts a process of ours."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from piimage import resources
from tests.unit.appliance.scripts import Pi, end, environment, wait_until

# The shim holds the pipe for the output as long as the task lives, and reads from it as well.
CTR = """
shift 2
case $1$2 in
run*)
    while [ $# -gt 1 ]; do
        case $1 in --pid-file) pid_file=$2 ;; --log-uri) output=$2 ;; esac
        shift
    done
    [ ! -e "$FAIL" ] || { echo "no such thing"; exit 1; }
    exec 3>"$output" 4<"$output"
    {
        sh -c "$(cat "$TASK")" >&3 2>&1 3>&- &
        echo $! >"$pid_file"
        exec 3>&-
        wait $!
    } >/dev/null 2>&1 </dev/null &
    until [ -s "$pid_file" ]; do :; done ;;
tasksdelete) exit "$(cat "$CODE")" ;;
esac
"""


@pytest.fixture
def pi(tmp_path: Path) -> Iterator[Pi]:
    pi = Pi(tmp_path)
    pi.install("service")
    pi.install("containerd.sh")
    pi.install("log.sh")
    pi.install_library()
    pi.write("sys/devices/system/cpu/online", "0\n")
    text = f"TASK={tmp_path}/task CODE={tmp_path}/code FAIL={tmp_path}/fail\n{CTR}"
    pi.program("ctr", text)
    pi.write("task", "exec sleep 1000")
    pi.write("code", "0")
    pi.write("run/piimage/services/none", "")
    pi.write("run/piimage/health/none", "")
    pi.write("run/piimage/boot", "")
    pi.path("run/containerd/x")
    listener = socket.socket(socket.AF_UNIX)
    with contextlib.chdir(tmp_path / "run/containerd"):
        listener.bind("containerd.sock")
    yield pi
    listener.close()


@contextlib.contextmanager
def running(pi: Pi, settings: str = "") -> Iterator[subprocess.Popen[bytes]]:
    """Run the service ``one`` until the block ends."""
    pi.write("containers/services/one/container.env", settings)
    pi.write("containers/services/one/layers", "")
    process = subprocess.Popen(
        ["busybox", "sh", pi.root / "usr/lib/piimage/service", "one"],
        env=environment(), process_group=0,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            end(process)
        with contextlib.suppress(ProcessLookupError):  # a check that hangs outlives its service
            os.killpg(process.pid, signal.SIGKILL)


def health(pi: Pi, name: str = "one") -> str:
    path = pi.root / "run/piimage/health" / name
    return path.read_text().strip() if path.exists() else ""


def state(pi: Pi) -> str:
    path = pi.root / "run/piimage/services/one/state"
    return path.read_text().strip() if path.exists() else ""


def printed(pi: Pi, text: str) -> bool:
    return any(text in line for line in pi.console())


def test_a_service_without_health_check_counts_as_running(pi: Pi) -> None:
    with running(pi):
        wait_until(lambda: health(pi) == "running", "the service")
        assert state(pi) == "running"


def test_a_service_is_stopped_with_its_task_when_process_1_says_so(pi: Pi) -> None:
    with running(pi) as process:
        wait_until(lambda: state(pi) == "running", "the service")
        task = int((pi.root / "run/piimage/services/one/pid").read_text())
        assert end(process) == 0
    assert state(pi) == "stopped"
    assert health(pi) == ""
    status = Path(f"/proc/{task}/status")
    assert not status.exists() or "State:\tZ" in status.read_text()
    assert printed(pi, "piimage: service one: stopped")


def test_a_health_check_that_hangs_does_not_hold_up_the_end(pi: Pi) -> None:
    pi.program("wget", "exec sleep 600")
    check = "HEALTH_KIND=http\nHEALTH_TARGET=http://x\nHEALTH_TIMEOUT=600\n"
    with running(pi, check) as process:
        wait_until(lambda: state(pi) == "running", "the service")
        assert end(process) == 0
    assert state(pi) == "stopped"


def test_what_is_cleaned_once_is_not_cleaned_again(pi: Pi) -> None:
    """Each client of containerd costs most of a second of a small processor."""
    calls_of_ctr = record_calls_of_ctr(pi)
    pi.write("task", "exit 0")
    with running(pi, "RESTART=no\n") as process:
        wait_until(lambda: state(pi) == "exited", "the end")
        end(process)
    assert calls_of_ctr() == [["run", "-d"], ["tasks", "delete"], ["containers", "delete"]]


def test_a_service_that_has_to_stop_takes_one_client_of_containerd(pi: Pi) -> None:
    calls_of_ctr = record_calls_of_ctr(pi)
    with running(pi) as process:
        wait_until(lambda: state(pi) == "running", "the service")
        end(process)
    assert calls_of_ctr() == [["run", "-d"], ["containers", "delete"]]


def test_a_task_that_is_not_known_to_have_stopped_is_deleted_by_force(pi: Pi) -> None:
    """containerd may hear of the end later than the runner."""
    calls_of_ctr = record_calls_of_ctr(pi)
    ctr = pi.root / "bin/ctr"
    refuses = f"containersdelete) [ -e {pi.root}/ended ] ;;\ntasksdelete) : >{pi.root}/ended;"
    ctr.write_text(ctr.read_text().replace("tasksdelete)", refuses))
    with running(pi) as process:
        wait_until(lambda: state(pi) == "running", "the service")
        end(process)
    names = [["run", "-d"], ["containers", "delete"], ["tasks", "delete"], ["containers", "delete"]]
    assert calls_of_ctr() == names


def log_of(pi: Pi) -> str:
    path = pi.root / "var/log/services/one/log"
    return path.read_text() if path.exists() else ""


def test_what_a_task_prints_is_in_its_log_with_its_last_line(pi: Pi) -> None:
    pi.write("task", "echo first; echo second >&2; printf 'last without end'")
    with running(pi, "RESTART=no\n"):
        wait_until(lambda: state(pi) == "exited", "the end")
    assert log_of(pi) == "first\nsecond\nlast without end\n"


def test_what_is_printed_while_nobody_reads_is_kept_for_the_next_reader(pi: Pi) -> None:
    go = pi.root / "go"
    pi.write("task", f"echo one; until [ -e {go} ]; do sleep 0.1; done; echo two; exec sleep 1000")
    with running(pi):
        wait_until(lambda: log_of(pi) == "one\n", "the first line")
        os.kill(int((pi.root / "run/piimage/services/one/logger").read_text()), signal.SIGKILL)
        go.touch()
        wait_until(lambda: log_of(pi) == "one\ntwo\n", "the next line")


def test_a_task_that_closes_its_output_is_left_in_peace(pi: Pi) -> None:
    pi.write("task", "echo one; exec sleep 1000 >/dev/null 2>&1 4<&-")
    with running(pi):
        wait_until(lambda: log_of(pi) == "one\n", "the line")
        logger = pi.root / "run/piimage/services/one/logger"
        wait_until(lambda: logger.read_text() == "", "the end of the output")
        os.write(os.open(pi.root / "run/piimage/services/one/events", os.O_RDWR), b"up\n")
        wait_until(lambda: not pi.sh(f"cat {pi.root}/run/piimage/services/one/logger"), "nothing")
        assert state(pi) == "running"


def test_a_runner_takes_over_the_output_of_one_that_was_killed(pi: Pi) -> None:
    pi.write("task", "trap 'echo ends; exit' TERM; echo begins; while :; do sleep 0.1; done")
    with running(pi) as first:
        wait_until(lambda: log_of(pi) == "begins\n", "the first line")
        logger = int((pi.root / "run/piimage/services/one/logger").read_text())
        for number in (first.pid, logger):  # process 1 ends the group of a runner that has ended
            os.kill(number, signal.SIGKILL)
        first.wait()
        pi.write("task", "echo again; exec sleep 1000")
        with running(pi):
            wait_until(lambda: log_of(pi).endswith("again\n"), "the second runner's task")
    assert log_of(pi) == "begins\nends\nagain\n"


def test_what_is_said_of_one_run_is_not_said_of_the_next(pi: Pi) -> None:
    pi.write("task", "exit 0")
    pi.write("code", "3")
    with running(pi) as process:
        wait_until((pi.root / "run/piimage/services/one/exit").exists, "the code")
        end(process)
    assert not (pi.root / "run/piimage/services/one/exit").exists()


def test_a_service_that_ends_is_restarted_later_and_later(pi: Pi) -> None:
    pi.write("task", "exit 0")
    with running(pi, "BACKOFF_MIN=1\nBACKOFF_MAX=2\n"):
        wait_until(lambda: printed(pi, "restarting in 1 s"), "the first restart")
        wait_until(lambda: printed(pi, "restarting in 2 s"), "the second restart")
        wait_until(
            lambda: (pi.root / "run/piimage/services/one/restarts").read_text() == "2\n", "two"
        )


@pytest.mark.parametrize(("policy", "code"), [("no", "1"), ("on-failure", "0")])
def test_a_service_stays_down_if_its_policy_says_so(pi: Pi, policy: str, code: str) -> None:
    pi.write("task", "exit 0")
    pi.write("code", code)
    with running(pi, f"RESTART={policy}\n"):
        wait_until(lambda: state(pi) == "exited", "the end")
        assert printed(pi, f"service one: exited with code {code}")
        assert not printed(pi, "restarting")


def test_a_failure_is_a_reason_to_restart_where_success_is_not(pi: Pi) -> None:
    pi.write("task", "exit 0")
    pi.write("code", "3")
    with running(pi, "RESTART=on-failure\n"):
        wait_until(lambda: printed(pi, "exited with code 3"), "the end")
        wait_until(lambda: printed(pi, "restarting in 1 s"), "the restart")


def test_what_containerd_says_of_a_failed_start_reaches_the_console(pi: Pi) -> None:
    pi.write("fail", "")
    with running(pi):
        wait_until(
            lambda: printed(pi, "service one: FAILED to start: no such thing"), "the message"
        )
        wait_until(lambda: printed(pi, "restarting in 1 s"), "another try")


def boots_late(pi: Pi) -> None:
    """Let the Pi have been up for longer than any back-off, as a slow one is at the first start."""
    library = pi.root / "usr/lib/piimage/lib.sh"
    library.write_text(
        f"{library.read_text()}\nnow() {{ REPLY=$(($(date +%s) % 100000 + 999)); }}\n"
    )


@pytest.mark.parametrize("missing", ["containerd", "device"])
def test_a_service_that_cannot_start_is_tried_later_and_later(pi: Pi, missing: str) -> None:
    boots_late(pi)
    if missing == "containerd":
        pi.write("fail", "")
    else:
        pi.write("containers/services/one/prestart", "false\n")
    with running(pi, "BACKOFF_MIN=1\nBACKOFF_MAX=60\n"):
        wait_until(lambda: printed(pi, "restarting in 4 s"), "the third try")
    waits = [line.rpartition(": ")[2] for line in pi.console() if "restarting" in line]
    assert waits == ["restarting in 1 s", "restarting in 2 s", "restarting in 4 s"]


def test_after_a_long_life_the_first_wait_is_short_again(pi: Pi) -> None:
    pi.write("fail", "")
    with running(pi, "BACKOFF_MIN=1\nBACKOFF_MAX=2\n"):
        wait_until(lambda: printed(pi, "restarting in 2 s"), "the second try")
        pi.write("task", "sleep 2.5")
        pi.path("fail").unlink()
        wait_until(lambda: printed(pi, "exited with code 0"), "the end of a long life")
        wait_until(lambda: pi.console()[-1].endswith("restarting in 1 s"), "the restart")


def record_calls_of_ctr(pi: Pi) -> Callable[[], list[list[str]]]:
    """Note what containerd is asked for; the two words that name each request."""
    ctr, calls_of_ctr = pi.root / "bin/ctr", pi.root / "asked"
    calls_of_ctr.touch()
    ctr.write_text(
        ctr.read_text().replace("shift 2", f'printf "%s\\n" "$*" >>{calls_of_ctr}\nshift 2', 1)
    )
    return lambda: [line.split()[2:4] for line in calls_of_ctr.read_text().splitlines()]


def test_a_start_that_fails_before_containerd_takes_no_turn_from_others(pi: Pi) -> None:
    pi.write("containers/services/one/prestart", "exit 1\n")
    calls_of_ctr = record_calls_of_ctr(pi)
    with running(pi):
        wait_until(lambda: printed(pi, "restarting in 2 s"), "the second try")
    assert calls_of_ctr() == []


def test_a_start_that_failed_holds_no_turn_while_it_waits(pi: Pi) -> None:
    pi.write("fail", "")
    with running(pi):
        wait_until(lambda: printed(pi, "restarting in 1 s"), "the failure")
        with turn(pi) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_start_that_hung_leaves_nothing_in_the_way_of_the_next(pi: Pi) -> None:
    """containerd 1.6 answered the next with "mkdir …/one: file exists"; its shim lived on."""
    bundle = pi.path("run/containerd/state/io.containerd.runtime.v2.task/services.linuxkit/one")
    hangs = f"""
    if [ "$3" = run ]; then
        mkdir {bundle} || exit 1
        shim='sleep 1000 & echo $! >{pi.root}/started; wait'
        (cd {bundle} && exec setsid sh -c "$shim") >/dev/null 2>&1 &
        until [ -s {pi.root}/started ]; do :; done
        mv {pi.root}/bin/ctr-later {pi.root}/bin/ctr
        exit 124
    fi
    """
    later = pi.root / "bin/ctr-later"
    (pi.root / "bin/ctr").rename(later)
    later.write_text(
        later.read_text().replace(
            "shift 2", f"[ $3 != run ] || mkdir {bundle} || exit 1\nshift 2", 1
        )
    )
    pi.program("ctr", hangs)
    pi.program("runc", f"echo $* >{pi.root}/asked-of-runc")
    library = pi.root / "usr/lib/piimage/containerd.sh"
    library.write_text(library.read_text().replace("SHIM_LIMIT=10", "SHIM_LIMIT=1"))
    with running(pi):
        wait_until(lambda: state(pi) == "running", "the second start")
    started = Path(f"/proc/{(pi.root / 'started').read_text().strip()}/status")
    assert not started.exists() or "State:\tZ" in started.read_text()
    assert (pi.root / "asked-of-runc").read_text().endswith("services.linuxkit delete -f one\n")


def test_a_service_becomes_healthy_when_its_check_succeeds(pi: Pi) -> None:
    pi.program("wget", f"[ -e {pi.root}/fine ]")
    with running(pi, "HEALTH_KIND=http\nHEALTH_TARGET=http://x\nHEALTH_START=30\n"):
        wait_until(lambda: health(pi) == "starting", "the start")
        pi.write("fine", "")
        wait_until(lambda: health(pi) == "healthy", "health")
        assert printed(pi, "piimage: service one: healthy")


def test_an_unhealthy_service_is_restarted(pi: Pi) -> None:
    pi.program("wget", f"[ -e {pi.root}/fine ]")
    pi.write("fine", "")
    checks = "HEALTH_KIND=http\nHEALTH_TARGET=http://x\nHEALTH_EVERY=1\nHEALTH_RETRIES=2\n"
    with running(pi, checks):
        wait_until(lambda: health(pi) == "healthy", "health")
        pi.path("fine").unlink()
        wait_until(lambda: printed(pi, "service one: unhealthy (2 checks failed)"), "bad health")
        wait_until(lambda: printed(pi, "restarting in 1 s"), "the restart")


def test_a_service_waits_for_what_it_comes_after(pi: Pi) -> None:
    pi.write("run/piimage/health/other", "starting\n")
    with running(pi, "AFTER=other\n"):
        waiting = pi.root / "run/piimage/services/other/waiting/one"
        wait_until(lambda: waiting.exists() and state(pi) == "waiting", "the wait")
        assert health(pi) == ""
        pi.write("run/piimage/health/other", "healthy\n")
        wait_until(waiting.exists, "the note")
        request(pi, "up\n")
        wait_until(lambda: state(pi) == "running", "the service")
    assert not (pi.root / "run/piimage/services/other/waiting/one").exists()


def test_a_service_that_is_up_wakes_those_that_wait_for_it(pi: Pi) -> None:
    pi.write("run/piimage/services/one/waiting/two", "")
    os.mkfifo(pi.path("run/piimage/services/two/events"))
    pipe = os.open(pi.root / "run/piimage/services/two/events", os.O_RDWR)
    with running(pi):
        assert os.read(pipe, 10) == b"up\n"
        assert health(pi) == "running"
    os.close(pipe)


def turn(pi: Pi) -> BinaryIO:
    """Open the file whose lock is the turn at containerd."""
    return pi.path("run/piimage/services/.turn0").open("ab")


def test_what_a_file_says_of_who_holds_the_turn_is_nothing(pi: Pi) -> None:
    """Not even the number of a process that looks like a runner."""
    words = ["busybox", "sh", "-c", "sleep 1000; :", "/usr/lib/piimage/service"]
    with subprocess.Popen(words, process_group=0) as other:
        pi.write("run/piimage/services/.turn0", f"{other.pid}\n")
        with running(pi):
            wait_until(lambda: state(pi) == "running", "the service")
        os.killpg(other.pid, signal.SIGKILL)


def test_a_runner_waits_until_the_turn_of_another_is_over(pi: Pi) -> None:
    calls_of_ctr = record_calls_of_ctr(pi)
    flock = pi.path("bin/flock")
    flock.write_text(f"#!/bin/sh\necho >{pi.root}/waits\nexec {shutil.which('flock')} $*\n")
    flock.chmod(0o755)
    with turn(pi) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with running(pi):
            wait_until((pi.root / "waits").exists, "the wait")
            assert calls_of_ctr() == []
            file.close()
            wait_until(lambda: state(pi) == "running", "the service")


@pytest.mark.parametrize("served", [True, False])
def test_starts_go_one_after_another_until_a_task_lasts(pi: Pi, served: bool) -> None:
    """Two shims that begin at once take the same socket."""
    calls_of_ctr = record_calls_of_ctr(pi)
    shim = pi.path("containerd-shim-runc-v2")
    shutil.copy(Path("/bin/sh").resolve(), shim)
    words = [shim, "-c", "sleep 1000 & echo $!; wait"]
    with (
        subprocess.Popen(words, stdout=subprocess.PIPE, process_group=0) as process,
        pi.path("run/piimage/services/.lasting.lock").open("ab") as file,
    ):
        assert process.stdout is not None
        task = process.stdout.readline().decode()
        fcntl.flock(file, fcntl.LOCK_EX)
        if served:
            pi.write("run/piimage/services/.lasting", task)
        with running(pi):
            if served:
                wait_until(lambda: state(pi) == "running", "the service")
            wait_until((pi.root / "run/piimage/services/one/output").exists, "the pipe")
            assert bool(calls_of_ctr()) is served
            file.close()
            wait_until(lambda: state(pi) == "running", "the service")
        os.killpg(process.pid, signal.SIGKILL)


def test_a_task_that_has_lived_for_a_while_is_named_as_the_one_that_lasts(pi: Pi) -> None:
    library = pi.root / "usr/lib/piimage/containerd.sh"
    library.write_text(library.read_text().replace("LASTS=5 ", "LASTS=0 "))
    with running(pi):
        lasting = pi.root / "run/piimage/services/.lasting"
        wait_until(lambda: lasting.exists() and lasting.read_text() != "", "the task's number")
        assert lasting.read_text() == (pi.root / "run/piimage/services/one/pid").read_text()


def test_a_turn_ends_with_the_client_and_the_runner_that_are_killed(pi: Pi) -> None:
    pi.program("ctr", f"echo >{pi.root}/hangs; exec sleep 1000")
    with running(pi) as process, turn(pi) as file:
        wait_until((pi.root / "hangs").exists, "the client")
        with pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        fcntl.flock(file, fcntl.LOCK_EX)


def test_a_runner_that_waits_for_containerd_can_be_stopped(pi: Pi) -> None:
    calls_of_ctr = record_calls_of_ctr(pi)
    (pi.root / "run/containerd/containerd.sock").unlink()
    with running(pi) as process:
        wait_until((pi.root / "run/piimage/services/.turn0").exists, "its turn")
        assert end(process) == 0
    assert calls_of_ctr() == []
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


def test_what_goes_wrong_in_the_middle_before_the_start_keeps_a_service_from_starting(
    pi: Pi,
) -> None:
    pi.write("containers/services/one/prestart", "false\ntrue\n")
    with running(pi, "RESTART=no"):
        wait_until(lambda: printed(pi, "service one: FAILED"), "the failure")


def test_what_goes_wrong_in_the_middle_after_the_start_is_told(pi: Pi) -> None:
    pi.write("containers/services/one/poststart", "[ $PID -gt 1 ]\nfalse\ntrue\n")
    with running(pi):
        wait_until(lambda: printed(pi, "its runtime section failed after the start"), "the message")


def test_after_the_time_to_start_checks_fail_no_faster_than_they_are_made(pi: Pi) -> None:
    check = "HEALTH_KIND=command HEALTH_TARGET=false HEALTH_START=0 HEALTH_EVERY=2 HEALTH_RETRIES=2"
    pi.program("runc", "echo look >>$LOOKS\nexit 1\n".replace("$LOOKS", str(pi.root / "looks")))
    with running(pi, check):
        wait_until(lambda: printed(pi, "service one: unhealthy"), "bad health")
        looks = (pi.root / "looks").read_text().split()
    assert len(looks) == 2


def test_a_log_is_kept_on_the_data_partition_if_the_file_says_so(pi: Pi) -> None:
    # A log in memory, of the version before, with its list of times.
    pi.write("var/log/services/one/log", "before\n")
    pi.write("var/log/times/one/log", "1 0\n")
    pi.write("data/piimage/logs/one/log", "of the last boot\n")
    log = pi.root / "var/log/services/one"
    with running(pi, "LOG_KEEP='data'\n"):
        wait_until(lambda: health(pi) == "running", "the service")
    assert log.readlink() == pi.root / "data/piimage/logs/one"
    assert (log / "log").read_text() == "of the last boot\n"
    assert not [line for line in times_of(pi) if line == "1 0"]
    with running(pi):
        wait_until(lambda: health(pi) == "running", "the service")
    assert log.is_dir() and not log.is_symlink()
    assert (log / "log").read_text() == ""
    assert (pi.root / "data/piimage/logs/one/log").exists()


def times_of(pi: Pi) -> list[str]:
    path = pi.root / "var/log/times/one/log"
    return path.read_text().splitlines() if path.exists() else []


def test_only_root_reads_the_logs_on_the_data_partition(pi: Pi) -> None:
    with running(pi, "LOG_KEEP='data'\n"):
        wait_until(lambda: health(pi) == "running", "the service")
    for folder in ("data/piimage/logs", "data/piimage/logs/one"):
        assert (pi.root / folder).stat().st_mode & 0o777 == 0o700, folder


# --- requests of a container


def calls_of_process_1(pi: Pi) -> Callable[[], list[str]]:
    pi.program("initctl", f'echo "$*" >>{pi.root}/initctl.log')
    path = pi.root / "initctl.log"
    return lambda: path.read_text().splitlines() if path.exists() else []


def request(pi: Pi, text: str) -> None:
    """Write to the runner's pipe as the container does: without waiting for a reader."""
    pipe = os.open(pi.root / "run/piimage/services/one/events", os.O_WRONLY | os.O_NONBLOCK)
    os.write(pipe, text.encode())
    os.close(pipe)


CONTROL = f"CONTROL={os.getuid()}:{os.getgid()}\n"


def test_requests_of_a_container_with_control_go_to_process_1(pi: Pi) -> None:
    calls = calls_of_process_1(pi)
    pi.path("containers/services/web/x")
    with running(pi, CONTROL):
        wait_until(lambda: state(pi) == "running", "the service")
        request(pi, "restart web\n")
        wait_until(lambda: calls() == ["restart web"], "the request")
        request(pi, "stop web\nstart web\n")
        wait_until(lambda: len(calls()) == 3, "two more")
    assert calls() == ["restart web", "stop web", "start web"]
    assert printed(pi, "piimage: service one: asks to restart web")


def test_a_service_that_stays_down_is_started_by_a_restart(pi: Pi) -> None:
    calls = calls_of_process_1(pi)
    pi.path("containers/services/web/x")
    pi.write("run/piimage/services/web/state", "exited\n")
    with running(pi, CONTROL):
        wait_until(lambda: state(pi) == "running", "the service")
        request(pi, "start web\n")
        wait_until(lambda: calls() == ["restart web"], "the request")


@pytest.mark.parametrize(
    "text",
    ["restart other", "reload web", "poweroff", "restart ../web", "restart .", "restart web now",
     "restart web; reboot", "restart $(reboot)", "restart *", "-f web", "restart -f"],
)  # fmt: skip
def test_what_is_no_request_is_ignored(pi: Pi, text: str) -> None:
    calls = calls_of_process_1(pi)
    pi.path("containers/services/web/x")
    with running(pi, CONTROL):
        wait_until(lambda: state(pi) == "running", "the service")
        request(pi, f"{text}\nstop web\n")
        wait_until(lambda: bool(calls()), "the request after it")
    assert calls() == ["stop web"]


def test_without_control_the_pipe_is_closed_to_others_and_its_lines_mean_nothing(pi: Pi) -> None:
    calls = calls_of_process_1(pi)
    pi.path("containers/services/web/x")
    with running(pi):
        wait_until(lambda: state(pi) == "running", "the service")
        mode = (pi.root / "run/piimage/services/one/events").stat().st_mode
        request(pi, "stop web\n")
        end_of_task(pi)
        wait_until(lambda: printed(pi, "exited with code"), "the end of the task")
    assert mode & 0o777 == 0o600
    assert calls() == []


def end_of_task(pi: Pi) -> None:
    os.kill(int((pi.root / "run/piimage/services/one/pid").read_text()), signal.SIGKILL)
