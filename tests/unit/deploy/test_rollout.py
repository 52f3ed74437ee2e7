"""Roll-outs over many targets."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import pytest

from piimage.deploy.rollout import Policy, Result, roll_out
from piimage.errors import PiimageError


@dataclass(frozen=True)
class Named:
    name: str


def _roll(
    count: int, failing: dict[int, str], policy: Policy
) -> tuple[tuple[Result[int], ...], list[int]]:
    """Roll out to 0, 1, …; those that fail do so with the code given. Also who was begun."""
    begun: list[int] = []

    def work(target: Named) -> int:
        number = int(target.name)
        begun.append(number)
        if number in failing:
            raise PiimageError(failing[number], "no", place=target.name)
        return number

    targets = [Named(str(n)) for n in range(count)]
    return roll_out(targets, work, policy, threading.Event()), begun


def test_all_get_it_when_all_goes_well() -> None:
    results, _ = _roll(10, {}, Policy(canary=1))
    assert [result.outcome for result in results] == list(range(10))


def test_a_bad_canary_stops_it_after_one() -> None:
    results, begun = _roll(10, {0: "deploy.rolled-back"}, Policy(canary=1))
    assert begun == [0]
    assert [result.skipped for result in results] == [False] + [True] * 9


def test_a_canary_that_is_off_is_replaced_by_the_next() -> None:
    results, begun = _roll(
        5, {0: "deploy.no-connection", 1: "deploy.rolled-back"}, Policy(canary=1)
    )
    assert begun == [0, 1]
    assert results[0].error is not None
    assert results[2].skipped


def test_a_host_that_is_off_does_not_hold_the_others() -> None:
    results, begun = _roll(10, {3: "deploy.no-connection"}, Policy(canary=1, parallel=3))
    assert sorted(begun) == list(range(10))
    assert [result.name for result in results if result.error] == ["3"]


@pytest.mark.parametrize("most", [0, 2])
def test_it_begins_no_more_after_too_many_failures(most: int) -> None:
    failing = dict.fromkeys(range(10), "deploy.rolled-back")
    _, begun = _roll(10, failing, Policy(parallel=1, max_failures=most))
    assert begun == list(range(most + 1))


def test_without_a_limit_failures_stop_nothing() -> None:
    failing = dict.fromkeys(range(4), "deploy.rolled-back")
    _, begun = _roll(6, failing, Policy(parallel=1, max_failures=None))
    assert begun == list(range(6))


def test_so_many_at_once_and_no_more() -> None:
    now, most = [0], [0]
    lock = threading.Lock()

    def work(target: Named) -> int:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.05)
        with lock:
            now[0] -= 1
        return 0

    roll_out([Named(str(n)) for n in range(8)], work, Policy(parallel=3), threading.Event())
    assert most[0] == 3


def test_an_interrupt_ends_what_runs_and_begins_no_more() -> None:
    cancelled = threading.Event()
    begun: list[str] = []

    def work(target: Named) -> int:
        begun.append(target.name)
        if not cancelled.wait(60):
            return 0
        raise PiimageError("deploy.interrupted", "interrupted", place=target.name)

    def interrupt(result: Result[int]) -> None:
        raise AssertionError(result)

    threading.Timer(0.3, signal_main).start()
    with pytest.raises(KeyboardInterrupt):
        roll_out([Named(str(n)) for n in range(8)], work, Policy(parallel=2), cancelled, interrupt)
    assert begun == ["0", "1"]


def signal_main() -> None:
    import signal

    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
