"""What a container with `control:` asks of its runner, through the pipe."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from tests.programs.appliance.runners import pi as pi  # noqa: PLC0414  # a fixture
from tests.programs.appliance.runners import printed, request, running, state
from tests.programs.appliance.scripts import Pi, wait_until


def calls_of_process_1(pi: Pi) -> Callable[[], list[str]]:
    pi.program("initctl", f'echo "$*" >>{pi.root}/initctl.log')
    path = pi.root / "initctl.log"
    return lambda: path.read_text().splitlines() if path.exists() else []


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
