"""The service runner: starts, ends, checks and logs."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.programs.appliance.runners import (
    health,
    printed,
    record_calls,
    request,
    running,
    state,
)
from tests.programs.appliance.runners import pi as pi  # noqa: PLC0414  # a fixture
from tests.programs.appliance.scripts import Pi, end, wait_until


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
    calls = record_calls(pi)
    pi.write("task", "exit 0")
    with running(pi, "RESTART=no\n") as process:
        wait_until(lambda: state(pi) == "exited", "the end")
        end(process)
    assert calls() == ["run", "delete"]


def test_a_service_that_has_to_stop_takes_one_client_of_containerd(pi: Pi) -> None:
    calls = record_calls(pi)
    with running(pi) as process:
        wait_until(lambda: state(pi) == "running", "the service")
        end(process)
    assert calls() == ["run", "delete"]


def test_a_task_whose_shim_has_ended_is_started_again(pi: Pi) -> None:
    """Nobody would read what it prints, and containerd does not say so."""
    with running(pi):
        wait_until(lambda: state(pi) == "running", "the service")
        task = int((pi.root / "run/piimage/services/one/pid").read_text())
        os.kill(parent_of(task), signal.SIGKILL)
        wait_until(lambda: printed(pi, "service one: stopped, because its shim has ended"), "it")
        wait_until(lambda: printed(pi, "restarting in 1 s"), "the restart")


def parent_of(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


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
    restarts = pi.root / "run/piimage/services/one/restarts"
    with running(pi, "BACKOFF_MIN=1\nBACKOFF_MAX=60\n"):
        wait_until(lambda: printed(pi, "restarting in 1 s"), "the first restart")
        wait_until(lambda: printed(pi, "restarting in 2 s"), "the second restart")
        wait_until(lambda: int(restarts.read_text() or "0") >= 2, "the count of both")


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


def test_a_start_that_fails_before_containerd_takes_no_turn_from_others(pi: Pi) -> None:
    pi.write("containers/services/one/prestart", "exit 1\n")
    calls = record_calls(pi)
    with running(pi):
        wait_until(lambda: printed(pi, "restarting in 2 s"), "the second try")
    assert calls() == []


def test_a_runner_that_waits_for_containerd_can_be_stopped(pi: Pi) -> None:
    calls = record_calls(pi)
    (pi.root / "run/containerd/containerd.sock").unlink()
    with running(pi) as process:
        wait_until((pi.root / "run/piimage/services/one/message").exists, "the wait")
        assert end(process) == 0
    assert calls() == []
    assert state(pi) == "stopped"


def test_a_start_that_hung_leaves_nothing_in_the_way_of_the_next(pi: Pi) -> None:
    """containerd 1.6 answered the next with "mkdir …/one: file exists"; its shim lived on."""
    bundle = pi.path("run/containerd/state/io.containerd.runtime.v2.task/services.linuxkit/one")
    hangs = f"""
    if [ "$2" = run ]; then
        mkdir {bundle} || exit 1
        shim='sleep 1000 & echo $! >{pi.root}/started; wait'
        (cd {bundle} && exec setsid sh -c "$shim") >/dev/null 2>&1 &
        until [ -s {pi.root}/started ]; do :; done
        mv {pi.root}/bin/later {pi.root}/bin/micropython
        exit 124
    fi
    """
    later = pi.root / "bin/later"
    (pi.root / "bin/micropython").rename(later)
    later.write_text(
        later.read_text().replace("shift", f"[ $2 != run ] || mkdir {bundle} || exit 1\nshift", 1)
    )
    pi.program("micropython", hangs)
    pi.program("runc", f"echo $* >{pi.root}/asked-of-runc")
    library = pi.root / "usr/lib/piimage/containerd.sh"
    library.write_text(library.read_text().replace("SHIM_LIMIT=10", "SHIM_LIMIT=1"))
    with running(pi):
        wait_until(lambda: state(pi) == "running", "the second start")
    started = Path(f"/proc/{(pi.root / 'started').read_text().strip()}/status")
    assert not started.exists() or "State:\tZ" in started.read_text()
    assert (pi.root / "asked-of-runc").read_text().endswith("services.linuxkit delete -f one\n")


AWAY = """
[ ! -e {0}/away ] || {{ echo 'containerd cannot be reached'; exit 3; }}
shift"""


def let_containerd_be_away(pi: Pi) -> Path:
    """Make the client fail, as at a containerd that was killed, as long as the file exists."""
    client = pi.root / "bin/micropython"
    client.write_text(client.read_text().replace("shift", AWAY.format(pi.root), 1))
    return pi.write("away", "")


def test_a_start_waits_for_a_containerd_that_starts_again(pi: Pi) -> None:
    away = let_containerd_be_away(pi)
    message = pi.root / "run/piimage/services/one/message"
    with running(pi):
        wait_until(lambda: message.exists() and "reached" in message.read_text(), "the first try")
        away.unlink()
        wait_until(lambda: state(pi) == "running", "the start")
    assert not printed(pi, "FAILED")


def test_the_shim_of_all_services_lives_on_while_containerd_is_away(pi: Pi) -> None:
    """Its folder in containerd's state is no sign of a start that hung."""
    bundle = pi.path("run/containerd/state/io.containerd.runtime.v2.task/services.linuxkit/one")
    bundle.mkdir()
    library = pi.root / "usr/lib/piimage/containerd.sh"
    text = library.read_text().replace("SHIM_LIMIT=10", "SHIM_LIMIT=0")
    library.write_text(text.replace("AWAY_LIMIT=40", "AWAY_LIMIT=0"))
    shim = subprocess.Popen(["sleep", "1000"], cwd=bundle)
    try:
        with running(pi) as service:
            wait_until(lambda: state(pi) == "running", "the start")
            let_containerd_be_away(pi)
            end(service)
        assert shim.poll() is None
    finally:
        shim.kill()
        shim.wait()


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
