"""Evaluates the report of an agent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from piimage.board import Board
from piimage.doctor.board import board, boot
from piimage.doctor.buses import buses
from piimage.doctor.facts import facts_of
from piimage.doctor.findings import Area, Finding, Verdict
from piimage.doctor.health import health
from piimage.doctor.network import network
from piimage.doctor.storage import storage
from piimage.doctor.system import messages, system


@dataclass(frozen=True)
class Examination:
    """The facts as reported, and the findings."""

    facts: Mapping[str, Any]
    areas: Sequence[Area]

    def counts(self) -> Counter[Verdict]:
        """Return how many findings have each verdict."""
        return Counter(finding.verdict for area in self.areas for finding in area.findings)

    def broken(self) -> tuple[Finding, ...]:
        """Return the findings with the verdict BROKEN."""
        findings = (finding for area in self.areas for finding in area.findings)
        return tuple(finding for finding in findings if finding.verdict is Verdict.BROKEN)


def examine(document: object, now: float, boards: Sequence[Board]) -> Examination:
    """Evaluate an agent's facts with the models' data in `boards`.

    `now` is this computer's time in seconds since 1970. Raises BadFacts.
    """
    facts = facts_of(document)
    areas = {
        "board": board(facts, boards),
        "boot": boot(facts, boards),
        "disks": storage(facts),
        "buses": buses(facts, boards),
        "health": health(facts, now),
        "network": network(facts),
        "system": system(facts),
        "kernel messages": messages(facts),
    }
    return Examination(
        facts.values, [Area(name, tuple(findings)) for name, findings in areas.items()]
    )
