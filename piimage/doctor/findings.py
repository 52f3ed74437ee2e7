"""The parts of a report."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass


class Verdict(enum.Enum):
    """The evaluation of a fact."""

    TOLD = ""
    """No evaluation: the fact is information for the reader."""
    GOOD = "good"
    LOOK = "look at this"
    """The fact may be right for this Pi; the advice says what to do if it is not."""
    BROKEN = "broken"
    """The appliance cannot do all of its work."""
    ABSENT = "not there"
    """This Pi or its kernel does not have it."""


@dataclass(frozen=True)
class Finding:
    """A line of a report."""

    name: str
    value: str
    verdict: Verdict = Verdict.TOLD
    advice: str = ""
    """What to do, if the verdict is LOOK or BROKEN."""


@dataclass(frozen=True)
class Area:
    """The findings about one subject."""

    name: str
    findings: Sequence[Finding]


def good(name: str, value: str) -> Finding:
    """Return a finding of something that works."""
    return Finding(name, value, Verdict.GOOD)


def look(name: str, value: str, advice: str) -> Finding:
    """Return a finding that a person should check."""
    return Finding(name, value, Verdict.LOOK, advice)


def broken(name: str, value: str, advice: str) -> Finding:
    """Return a finding of something that does not work."""
    return Finding(name, value, Verdict.BROKEN, advice)


def absent(name: str, why: str) -> Finding:
    """Return a finding of something that this Pi does not have."""
    return Finding(name, why, Verdict.ABSENT)


def size(count: int) -> str:
    """Return a number of bytes in its largest decimal unit, as disks are sold."""
    for unit, step in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= step:
            return f"{count / step:.1f} {unit}"
    return f"{count} B"
