"""When a container runs that is not kept running: at times of the clock, or after a period."""

import re
from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field, model_validator

from piimage.config.values import Interval, ShortPart, problem, quoted

_FIELDS: Final = (
    ("minute", 0, 59), ("hour", 0, 23), ("day of the month", 1, 31), ("month", 1, 12),
    ("day of the week", 0, 7),
)  # fmt: skip
_ITEM: Final = re.compile(r"(?:\*|([0-9]{1,2})(?:-([0-9]{1,2}))?)(?:/([0-9]{1,2}))?", re.ASCII)
_NICKNAMES: Final = {
    "@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0", "@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}  # fmt: skip
_EXAMPLE: Final = '"MINUTE HOUR DAY MONTH WEEKDAY" in numbers, such as "0 3 * * *"'
_MONTH_LENGTHS: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def times_of(text: str) -> tuple[tuple[int, ...], ...]:
    """Return the minutes, hours, days, months and weekdays (0 to 6) of a line of cron.

    Source: crontab(5). Raises the error of a check if the line is not valid, or never comes.
    """
    words = text.split()
    if text in _NICKNAMES:
        raise problem(f"{quoted(text)} is a nickname of cron", f'"{_NICKNAMES[text]}"')
    if len(words) != len(_FIELDS):
        raise problem(f"{quoted(text)} has {len(words)} fields instead of 5", _EXAMPLE)
    minutes, hours, days, months, weekdays = (
        _numbers(word, *field) for word, field in zip(words, _FIELDS, strict=True)
    )
    weekdays = tuple(sorted({day % 7 for day in weekdays}))
    longest = max(_MONTH_LENGTHS[month - 1] for month in months)
    if min(days) > longest and len(weekdays) == 7:
        raise problem(f"{quoted(text)} is a day that never comes", "a day that the month has")
    return minutes, hours, days, months, weekdays


def _numbers(word: str, name: str, low: int, high: int) -> tuple[int, ...]:
    found: set[int] = set()
    for item in word.split(","):
        match = _ITEM.fullmatch(item)
        if match is None:
            raise problem(f"{quoted(item)} is not a valid {name}", _EXAMPLE)
        first, last, step = (None if group is None else int(group) for group in match.groups())
        begin = low if first is None else first
        end = begin if last is None else last
        if last is None and (first is None or step is not None):
            end = high
        if not low <= begin <= end <= high or step == 0:
            raise problem(f"{quoted(item)} is not a valid {name}", f"numbers from {low} to {high}")
        found |= {*range(begin, end + 1, step or 1)}
    return tuple(sorted(found))


def _line(value: str) -> str:
    times_of(value)
    return value


class Schedule(ShortPart):
    """When a service runs; between its runs it is down."""

    short_key = "cron"

    cron: Annotated[str, AfterValidator(_line)] | None = Field(
        default=None,
        description="MINUTE HOUR DAY MONTH WEEKDAY as cron reads them, in numbers: "
        '"0 3 * * *" is every day at 3, by the time zone of the Pi.',
    )
    every: Interval | None = Field(
        default=None,
        description="Run at the start of the service, and then after each such period; needs no "
        "clock.",
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.cron is None) == (self.every is None):
            raise problem("a schedule with both or neither of cron and every", "exactly one")
        return self
