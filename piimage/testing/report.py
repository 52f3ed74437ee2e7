"""What a test run found: for people, and as JUnit's XML for machines."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from piimage.writing import write_chunks

# XML 1.0, production [2]: all other characters cannot be said, not even as a reference.
_UNSPEAKABLE: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Outcome:
    """One thing that was looked at, and the wall seconds that it took.

    `failure` says why it failed, `skipped` why nobody looked; at most one of them is given.
    """

    name: str
    seconds: float
    failure: str | None = None
    skipped: str | None = None

    @property
    def line(self) -> str:
        """The outcome for people; what failed is told in the lines below."""
        if self.failure is not None:
            told = "\n".join(f"    {line}" for line in self.failure.splitlines())
            return f"FAILED   {self.name} ({self.seconds:.1f} s)\n{told}"
        if self.skipped is not None:
            return f"skipped  {self.name}: {self.skipped}"
        return f"passed   {self.name} ({self.seconds:.1f} s)"


def failures(outcomes: Sequence[Outcome]) -> tuple[Outcome, ...]:
    """Return those that failed."""
    return tuple(one for one in outcomes if one.failure is not None)


def junit(suite: str, outcomes: Sequence[Outcome]) -> str:
    """Return the report that CI systems read, as the schema of Ant's junitreport has it."""
    skipped = sum(one.skipped is not None for one in outcomes)
    counts = (
        f'tests="{len(outcomes)}" failures="{len(failures(outcomes))}" errors="0" '
        f'skipped="{skipped}" time="{sum(one.seconds for one in outcomes):.3f}"'
    )
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f"<testsuite name={_attribute(suite)} {counts}>",
        *(_case(suite, one) for one in outcomes),
        "</testsuite>",
        "",
    ]
    return "\n".join(lines)


def save(path: Path, text: str) -> None:
    """Write `text` to `path`, whole or not at all; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_chunks(path, [text.encode()])


def _case(suite: str, one: Outcome) -> str:
    head = (
        f"  <testcase classname={_attribute(suite)} name={_attribute(one.name)} "
        f'time="{one.seconds:.3f}"'
    )
    if one.failure is not None:
        first = one.failure.partition("\n")[0]
        return (
            f"{head}>\n    <failure message={_attribute(first)}>"
            f"{escape(_speakable(one.failure))}</failure>\n  </testcase>"
        )
    if one.skipped is not None:
        return f"{head}>\n    <skipped message={_attribute(one.skipped)}/>\n  </testcase>"
    return f"{head}/>"


def _attribute(text: str) -> str:
    return quoteattr(_speakable(text), {"\n": "&#10;", "\r": "&#13;", "\t": "&#9;"})


def _speakable(text: str) -> str:
    return _UNSPEAKABLE.sub("\ufffd", text)
