"""When a changed service without a health check counts as started."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from piimage_agent import settling
from piimage_agent.root import Root

STEP = 0.1


def settled_after(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    used: Callable[[float], float | None],
    rehearsed: tuple[str, ...] = (),
) -> float:
    """Seconds until a service has settled that has `used` so much processor after so many."""
    now = 0.0
    counters = folder / "sys/fs/cgroup/piimage/services/one/cpu.stat"
    counters.parent.mkdir(parents=True)
    monkeypatch.setattr(settling.time, "monotonic", lambda: now)

    def count() -> None:
        found = used(now)
        counters.unlink(missing_ok=True)
        if found is not None:
            counters.write_text(f"usage_usec {round(found * 1e6)}\nuser_usec 0\n")

    count()
    waiting = settling.Settling(Root(str(folder)), ["one"], list(rehearsed))
    while waiting.names and now < 10:
        now = round(now + STEP, 3)
        count()
        waiting.look()
    return now


def test_one_that_waits_has_settled_after_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    took = settled_after(tmp_path, monkeypatch, lambda _: 0.2)
    assert settling.LEAST_S <= took <= settling.LEAST_S + STEP


def test_one_that_passed_its_rehearsal_has_settled_after_half_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    took = settled_after(tmp_path, monkeypatch, lambda _: 0.2, ("one",))
    assert settling.LEAST_REHEARSED_S <= took <= settling.LEAST_REHEARSED_S + STEP


def test_one_that_passed_its_rehearsal_and_computes_has_settled_when_it_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    took = settled_after(tmp_path, monkeypatch, lambda now: 0.8 * min(now, 1.7), ("one",))
    assert 2.0 <= took <= 2.6


def test_one_that_computes_first_has_settled_when_it_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    took = settled_after(tmp_path, monkeypatch, lambda now: 0.8 * min(now, 1.7))
    assert 2.0 <= took <= 2.6


@pytest.mark.parametrize("used", [lambda now: 0.8 * now, lambda _: None])
def test_one_that_goes_on_or_that_nobody_counts_gets_the_whole_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, used: Callable[[float], float | None]
) -> None:
    took = settled_after(tmp_path, monkeypatch, used)
    assert took == pytest.approx(settling.WHOLE_S, abs=STEP)


def test_what_has_ended_needs_no_time(tmp_path: Path) -> None:
    assert settling.Settling(Root(str(tmp_path)), [], []).names == []
