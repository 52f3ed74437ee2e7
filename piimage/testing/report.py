"""The report of a test run: lines for people, and JUnit XML for CI systems."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from piimage.durable import write_chunks

# XML 1.0, production [2]: all other characters are not allowed, not even as a reference.
_NOT_XML: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Outcome:
    """The result of one check, and the wall seconds that it took.

    `failure` is the reason of a failure, `skipped` that of a skipped check; at most one is set.
    """

    name: str
    seconds: float
    failure: str | None = None
    skipped: str | None = None

    @property
    def line(self) -> str:
        """The outcome for people: one line, followed by the reason of a failure."""
        if self.failure is not None:
            reason = "\n".join(f"    {line}" for line in self.failure.splitlines())
            return f"FAILED   {self.name} ({self.seconds:.1f} s)\n{reason}"
        if self.skipped is not None:
            return f"skipped  {self.name}: {self.skipped}"
        return f"passed   {self.name} ({self.seconds:.1f} s)"


def failures(outcomes: Sequence[Outcome]) -> tuple[Outcome, ...]:
    """Return the outcomes that failed."""
    return tuple(outcome for outcome in outcomes if outcome.failure is not None)


def junit(suite: str, outcomes: Sequence[Outcome]) -> str:
    """Return the report for CI systems, in the schema of Ant's junitreport."""
    skipped = sum(outcome.skipped is not None for outcome in outcomes)
    counts = (
        f'tests="{len(outcomes)}" failures="{len(failures(outcomes))}" errors="0" '
        f'skipped="{skipped}" time="{sum(outcome.seconds for outcome in outcomes):.3f}"'
    )
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f"<testsuite name={_attribute(suite)} {counts}>",
        *(_case(suite, outcome) for outcome in outcomes),
        "</testsuite>",
        "",
    ]
    return "\n".join(lines)


def save(path: Path, text: str) -> None:
    """Create the folder of `path`, and write `text` to `path` completely or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_chunks(path, [text.encode()])


def _case(suite: str, outcome: Outcome) -> str:
    head = (
        f"  <testcase classname={_attribute(suite)} name={_attribute(outcome.name)} "
        f'time="{outcome.seconds:.3f}"'
    )
    if outcome.failure is not None:
        first = outcome.failure.partition("\n")[0]
        return (
            f"{head}>\n    <failure message={_attribute(first)}>"
            f"{escape(_xml_text(outcome.failure))}</failure>\n  </testcase>"
        )
    if outcome.skipped is not None:
        return f"{head}>\n    <skipped message={_attribute(outcome.skipped)}/>\n  </testcase>"
    return f"{head}/>"


def _attribute(text: str) -> str:
    return quoteattr(_xml_text(text), {"\n": "&#10;", "\r": "&#13;", "\t": "&#9;"})


def _xml_text(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
