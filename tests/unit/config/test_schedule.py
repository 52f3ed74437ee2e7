"""Lines of cron, and what contradicts a schedule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from piimage.config.container import ContainerConfig, merge
from piimage.config.load import load_all
from piimage.config.schedule import times_of
from piimage.errors import ErrorGroup, PiimageError


def schedule(value: object) -> Any:  # a model that is loaded when it is needed
    return ContainerConfig.model_validate({"schedule": value}).schedule


def test_a_line_is_lists_of_numbers() -> None:
    minutes, hours, days, months, weekdays = times_of("*/20,5 22-23 1,15 * 5-7")
    assert minutes == (0, 5, 20, 40)
    assert hours == (22, 23)
    assert days == (1, 15)
    assert months == tuple(range(1, 13))
    assert weekdays == (0, 5, 6)  # 7 is Sunday as well
    assert times_of("10/25 0 * * *")[0] == (10, 35)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 3 * *", "has 4 fields instead of 5"),
        ("@daily", 'instead: "0 0 * * *"'),
        ("60 3 * * *", "'60' is not a valid minute"),
        ("0 24 * * *", "'24' is not a valid hour"),
        ("0 3 0 * *", "'0' is not a valid day of the month"),
        ("0 3 * jan *", "'jan' is not a valid month"),
        ("0 3 * * 5-1", "'5-1' is not a valid day of the week"),
        ("*/0 3 * * *", "'*/0' is not a valid minute"),
        ("5-0 3 * * *", "'5-0' is not a valid minute"),
        (", 3 * * *", "'' is not a valid minute"),
        ("0 3 31 2,4 *", "a day that never comes"),
    ],
)
def test_a_line_that_is_none_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        schedule(text)
    assert message in str(caught.value)


def test_a_period_is_the_other_way() -> None:
    assert schedule({"every": "6h"}).every == 21600
    assert schedule("0 3 * * *").cron == "0 3 * * *"
    for value in ({}, {"every": "6h", "cron": "0 3 * * *"}, {"every": 0}):
        with pytest.raises(ValidationError):
            schedule(value)


def refused(folder: Path, text: str) -> list[str]:
    file = folder / "a.yml"
    file.write_text(text)
    with pytest.raises(PiimageError) as caught:
        load_all([file])
    found = caught.value
    return [error.message for error in (found.errors if isinstance(found, ErrorGroup) else [found])]


@pytest.mark.provokes("config.misplaced")
def test_it_is_for_services_and_nobody_can_wait_for_one(tmp_path: Path) -> None:
    job = "{name: %s, packages: [busybox-static], command: [/x], schedule: '0 3 * * *'%s}"
    text = f"onboot: [{job % ('first', '')}]\n"
    assert refused(tmp_path, text) == ["schedule has no effect in onboot"]
    other = "{name: b, packages: [busybox-static], command: [/x], after: [a], timeout: 5s}"
    text = f"services:\n- {job % ('a', ', timeout: 1h')}\n- {other}\n"
    assert sorted(refused(tmp_path, text)) == [
        "b waits for a, which only runs at times", "timeout has no effect in services",
    ]  # fmt: skip


@pytest.mark.provokes("config.misplaced")
@pytest.mark.parametrize(
    "other", ["restart: always", "health: {tcp: 'a:80'}", "before_update: {command: [/x]}"]
)
def test_what_is_for_services_that_stay_up_contradicts_it(tmp_path: Path, other: str) -> None:
    entry = f"packages: [busybox-static], command: [/x], schedule: '0 3 * * *', {other}"
    (message,) = refused(tmp_path, f"services: [{{name: a, {entry}}}]\n")
    assert message.startswith(f"{other.partition(':')[0]} has no effect with schedule")


def test_the_higher_place_says_whether_a_service_stays_up() -> None:
    job = ContainerConfig.model_validate({"schedule": "0 3 * * *"})
    kept = ContainerConfig.model_validate({"restart": "always", "health": {"tcp": "a:80"}})
    first = merge(kept, job)
    assert (first.restart, first.health, first.schedule) == (None, None, job.schedule)
    second = merge(job, kept)
    assert (second.restart, second.health, second.schedule) == (kept.restart, kept.health, None)
