"""A service that runs at times, by the Pi's own comparison of its clock."""

from __future__ import annotations

import datetime
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from piimage.config.container import ContainerConfig
from piimage.container.bundle import _schedule
from tests.programs.appliance.runners import health, pi, printed, running, state
from tests.programs.appliance.scripts import Pi, end, wait_until

__all__ = ["pi"]

SCRIPT = Path(__file__).parents[3] / "appliance/rootfs/usr/lib/piimage/schedule.sh"


def settings(schedule: object) -> str:
    """Return what container.env has for a schedule."""
    config = ContainerConfig.model_validate({"schedule": schedule})
    return "".join(f"{key}='{value}'\n" for key, value in _schedule(config).items() if value)


def minute(text: str) -> int:
    """Return the minute since 1970 of a time in UTC."""
    return int(datetime.datetime.fromisoformat(f"{text}+00:00").timestamp()) // 60


def answer(schedule: object, script: str, zone: str = "UTC") -> str:
    """Run `script` with the functions of schedule.sh; return what it prints."""
    given = f"SCHEDULE_EITHER=\n{settings(schedule)}"
    done = subprocess.run(
        ["busybox", "sh", "-uc", f". {SCRIPT}\n{given}{script}"],
        capture_output=True, text=True, check=True, env={"TZ": zone, "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    return done.stdout


@pytest.mark.parametrize(
    ("line", "when", "due"),
    [
        ("0 3 * * *", "2026-11-29 03:00", True),
        ("0 3 * * *", "2026-11-29 03:01", False),
        ("0 3 * * *", "2026-11-29 13:00", False),
        ("8 8 8 8 *", "2026-08-08 08:08", True),
        ("*/15 * * * *", "2026-11-29 09:45", True),
        ("0 0 * * 0", "2026-11-29 00:00", True),  # a Sunday
        ("0 0 * * 7", "2026-11-29 00:00", True),
        ("0 0 * * 1", "2026-11-29 00:00", False),
        ("0 0 1 * 0", "2026-11-29 00:00", True),  # either day is enough
        ("0 0 1 * 0", "2026-12-01 00:00", True),
        ("0 0 1 * 0", "2026-12-02 00:00", False),
        ("0 0 */2 * 0", "2026-11-28 00:00", False),  # crontab(5): not with a star
        ("0 0 29 2 *", "2028-02-29 00:00", True),
    ],
)
def test_a_minute_is_due_as_cron_has_it(line: str, when: str, due: bool) -> None:
    assert answer(line, f"is_due {minute(when)} && echo due || echo not") == (
        "due\n" if due else "not\n"
    )


def test_the_hours_are_those_of_the_time_zone() -> None:
    script = f"is_due {minute('2026-11-29 18:00')} && echo due || echo not"
    assert answer("0 3 * * *", script, zone="JST-9") == "due\n"


CLOCK = 'date() { case $1 in +%s) echo $SECONDS_NOW ;; *) command date "$@" ;; esac; }\n'


@pytest.mark.parametrize(
    ("later", "due"),
    [
        (0, False),  # the minute in which the service was started
        (1, True),
        (3, True),  # slept through
        (120, False),  # the clock was set
        (-30, False),
    ],
)
def test_what_was_slept_through_is_made_up_for_and_a_clock_that_was_set_is_not(
    later: int, due: bool
) -> None:
    start = minute("2026-11-29 02:59")
    script = f"{CLOCK}SECONDS_NOW={start * 60 + 30}; has_come && echo early\n"
    script += f"SECONDS_NOW={(start + later) * 60}; has_come && echo due || echo not"
    assert answer("0 3 * * *", script) == ("due\n" if due else "not\n")


@pytest.mark.parametrize(
    ("given", "seconds", "overdue"),
    [
        ("", 100, True),
        ("", 9, False),
        ("TIMEOUT=0\n", 100, False),
        ("SCHEDULE_EVERY=\n", 100, False),  # an image's label may have `timeout` for onboot
    ],
)
def test_only_a_run_of_a_schedule_has_a_longest_time(
    given: str, seconds: int, overdue: bool
) -> None:
    script = f"SCHEDULE_MINUTES= TIMEOUT=10 STARTED=0\n{given}now() {{ REPLY={seconds}; }}\n"
    script += "is_overdue && echo overdue || echo fine"
    assert answer({"every": "1h"}, script) == ("overdue\n" if overdue else "fine\n")


@pytest.fixture
def runs(pi: Pi) -> Iterator[Path]:
    """The file that gets a line for each run."""
    file = pi.root / "runs"
    pi.write("task", f"echo run >>{file}")
    yield file


def count(runs: Path) -> int:
    return len(runs.read_text().splitlines()) if runs.exists() else 0


def due(pi: Pi) -> None:
    """Ask for a run as the agent does."""
    pi.write("run/piimage/services/one/due", "")
    with (pi.root / "run/piimage/services/one/events").open("wb", buffering=0) as pipe:
        pipe.write(b"\n")


def test_a_period_begins_with_the_service_and_is_repeated(pi: Pi, runs: Path) -> None:
    with running(pi, settings({"every": "1s"})):
        wait_until(lambda: count(runs) >= 2, "two runs")
        assert printed(pi, "service one: exited with code 0")


def test_between_its_runs_a_service_is_down_and_well(pi: Pi, runs: Path) -> None:
    with running(pi, settings({"every": "1h"})):
        wait_until(lambda: count(runs) == 1 and health(pi) == "scheduled", "the first run")
        wait_until(lambda: state(pi) == "scheduled", "the state, which is told after the health")
        assert printed(pi, "service one: scheduled")
        assert pi.path("run/piimage/services/one/exit").read_text() == "0\n"


def test_it_runs_at_once_if_somebody_asks(pi: Pi, runs: Path) -> None:
    with running(pi, settings("0 0 29 2 *")):
        wait_until(lambda: state(pi) == "scheduled", "the service")
        assert count(runs) == 0
        due(pi)
        wait_until(lambda: count(runs) == 1 and state(pi) == "scheduled", "the run")
        assert not pi.path("run/piimage/services/one/due").exists()


def test_a_run_that_fails_keeps_its_code_until_the_next_one(pi: Pi) -> None:
    code = pi.path("run/piimage/services/one/exit")
    pi.write("task", "exit 7")
    pi.write("code", "7")
    with running(pi, settings("0 0 29 2 *")):
        wait_until(lambda: state(pi) == "scheduled", "the service")
        due(pi)
        wait_until(lambda: code.exists() and state(pi) == "scheduled", "the run")
        assert code.read_text() == "7\n"
        pi.write("task", "exec sleep 1000")
        due(pi)
        wait_until(lambda: state(pi) == "running", "the next run")
        assert not code.exists()


def test_a_run_that_takes_too_long_is_stopped(pi: Pi) -> None:
    pi.write("task", "exec sleep 1000")
    with running(pi, f"{settings({'every': '1h'})}TIMEOUT=1\n"):
        wait_until(lambda: printed(pi, "stopped, because it ran for 1 s"), "the end")
        wait_until(lambda: state(pi) == "scheduled", "the schedule")


def test_a_service_that_waits_for_its_time_ends_when_process_1_says_so(pi: Pi) -> None:
    with running(pi, settings("0 0 29 2 *")) as process:
        wait_until(lambda: state(pi) == "scheduled", "the service")
        assert end(process) == 0
    assert state(pi) == "stopped"
