"""Parses the status that a Pi reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from piimage.deploy import answers
from piimage.deploy.answers import BadAnswer, Service
from piimage.deploy.slots import State, state_of


@dataclass(frozen=True)
class Status:
    """The status of a Pi. Sizes are pairs of total and free bytes; times are in seconds."""

    host: str
    model: str
    board: str
    kernel: str
    agent: str
    slot: str
    generation: str
    note: str
    uptime: float
    temperature: float | None
    """Degrees Celsius."""
    throttled: Mapping[str, str] | None
    """What the firmware reports of the power supply; None if the kernel does not support it."""
    memory: tuple[int, int]
    data: tuple[int, int]
    services: tuple[Service, ...]
    system: State | None = None
    """The slots and the last update of the system; None if the agent cannot update it."""


def parse(answer: Mapping[str, Any]) -> Status:
    """Parse the response to `status`; raises BadAnswer."""
    slot, generation = _part(answer, "slot"), _part(answer, "generation")
    memory, data = _part(answer, "memory"), _part(answer, "data")
    throttled = None if answer.get("throttled") is None else _part(answer, "throttled")
    degrees = answer.get("temperature")
    return Status(
        host=answers.text(answer, "host"),
        model=answers.text(answer, "model"),
        board=answers.text(answer, "board"),
        kernel=answers.text(answer, "kernel"),
        agent=answers.text(answer, "agent"),
        slot=answers.text(slot, "partition") + answers.text(slot, "prefix"),
        generation=answers.text(generation, "id"),
        note=answers.text(generation, "note"),
        uptime=_real(answer.get("uptime")),
        temperature=None if degrees is None else _real(degrees),
        throttled=None if throttled is None else {k: str(v)[:40] for k, v in throttled.items()},
        memory=(answers.number(memory, "total"), answers.number(memory, "available")),
        data=(answers.number(data, "total"), answers.number(data, "free")),
        services=answers.services(answer),
        system=None if answer.get("system") is None else state_of(_part(answer, "system")),
    )


def _part(answer: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = answer.get(key)
    if not isinstance(value, dict) or len(value) > 100:
        raise BadAnswer(f"{key} is not a mapping")
    return value


def _real(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= abs(value) < 1e12:
        raise BadAnswer("a value is not a number")
    return float(value)
