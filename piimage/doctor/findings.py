"""What a report consists of."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass


class Verdict(enum.Enum):
    """What to make of a fact."""

    TOLD = ""
    """Nothing: it is there for whoever reads the report."""
    GOOD = "good"
    LOOK = "look at this"
    """It may be right for this Pi; the advice says what to do if not."""
    BROKEN = "broken"
    """The appliance cannot do all of its work."""
    ABSENT = "not there"
    """This Pi, or its kernel, has not got it."""


@dataclass(frozen=True)
class Finding:
    """One line of a report."""

    name: str
    value: str
    verdict: Verdict = Verdict.TOLD
    advice: str = ""
    """What to do, where the verdict is LOOK or BROKEN."""


@dataclass(frozen=True)
class Area:
    """Findings that belong together."""

    name: str
    findings: Sequence[Finding]


def good(name: str, value: str) -> Finding:
    """Return a finding that is as it should be."""
    return Finding(name, value, Verdict.GOOD)


def look(name: str, value: str, advice: str) -> Finding:
    """Return a finding that somebody should look at."""
    return Finding(name, value, Verdict.LOOK, advice)


def broken(name: str, value: str, advice: str) -> Finding:
    """Return a finding of something that does not work."""
    return Finding(name, value, Verdict.BROKEN, advice)


def absent(name: str, why: str) -> Finding:
    """Return a finding of something that this Pi has not got."""
    return Finding(name, why, Verdict.ABSENT)


def size(count: int) -> str:
    """Return a number of bytes for people, in powers of ten as disks are sold."""
    for unit, step in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= step:
            return f"{count / step:.1f} {unit}"
    return f"{count} B"
