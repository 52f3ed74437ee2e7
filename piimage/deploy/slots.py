"""What a Pi says of its two slots and of the last update of its system."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from piimage.deploy import answers
from piimage.deploy.answers import BadAnswer


@dataclass(frozen=True)
class SlotVersion:
    """The version in a slot: its name, and its place among others (`piimage.plan.slot.Order`)."""

    name: str
    order: tuple[int, int]
    partial: bool = False
    """Nothing boots from the slot: it was not written to its end."""


@dataclass(frozen=True)
class State:
    """What a Pi says of its slots and of its last update."""

    booted: str
    """The slot that runs: the number of its partition, or its folder with a slash."""
    other: str
    """The slot that does not run; empty if there is none."""
    kept: str
    """The slot that an ordinary start boots."""
    tried: bool
    """Whether the booted slot is on trial."""
    can_try: bool
    obstacle: str
    """Why the boot loader cannot be told to try the other slot; empty if it can."""
    bootloader: int | None
    partitions: Mapping[str, tuple[int, int]]
    """First byte and size of each partition."""
    update: str
    """The state of the last update, as in docs/updates.md; empty if there was none."""
    id: str
    note: str
    """What the tool called the version."""
    cause: str
    """Why it was undone; empty if it was not."""
    trusted: tuple[str, ...]
    """The SHA-256 of each certificate whose key may sign; if there are none, nothing is signed."""
    floor: tuple[int, int]
    """The lowest place of a version that the Pi takes (`piimage.plan.slot.Order`)."""
    hooks: tuple[str, ...]
    """The services that run a command before an update."""
    firmware: Mapping[str, str]
    """The digests of the boot firmware that both slots share, by name; none if each has its own."""
    versions: Mapping[str, SlotVersion]
    """The version in each slot of which one is known."""


def place_of(slot: str) -> str:
    """Return where the slot called `slot` is, for a person."""
    return f"folder {slot}" if slot.endswith("/") else f"partition {slot}"


def shown(order: tuple[int, int]) -> str:
    """Return the place of a version among others for a person."""
    number, second = order
    return f"version {number}, lock of {datetime.fromtimestamp(second, UTC):%Y-%m-%d %H:%M}"


def state_of(answer: Mapping[str, Any]) -> State:
    """Parse the response to `system`; raises BadAnswer."""
    journal, places = answer.get("journal"), answer.get("partitions")
    if not isinstance(journal, dict) or not isinstance(places, dict) or len(places) > 4:
        raise BadAnswer("the journal or the partitions are missing")
    time_built = answer.get("bootloader")
    return State(
        booted=answers.text(answer, "booted"),
        other=answers.text(answer, "other"),
        kept=answers.text(answer, "kept"),
        tried=answer.get("tried") is True,
        can_try=answer.get("can_try") is True,
        obstacle=answers.text(answer, "obstacle") if "obstacle" in answer else "",
        bootloader=None if time_built is None else answers.number(answer, "bootloader"),
        partitions={name: _pair(place) for name, place in places.items()},
        update=answers.text(journal, "state"),
        id=answers.text(journal, "id"),
        note=answers.text(journal, "note"),
        cause=answers.text(journal, "cause"),
        trusted=answers.digests(answer, "trusted") if "trusted" in answer else (),
        floor=_order(answer.get("floor", [0, 0])),
        hooks=answers.texts(answer, "before_update") if "before_update" in answer else (),
        firmware=answers.mapping(answer, "firmware") if "firmware" in answer else {},
        versions=_versions(answer.get("versions", {})),
    )


def _versions(value: object) -> dict[str, SlotVersion]:
    if not isinstance(value, dict) or len(value) > 2:
        raise BadAnswer("the versions are no mapping of two slots")
    return {slot: _version(version) for slot, version in value.items()}


def _version(value: object) -> SlotVersion:
    if not isinstance(value, dict):
        raise BadAnswer("the version of a slot is no mapping")
    if value.get("partial") is True:
        return SlotVersion("", (0, 0), partial=True)
    return SlotVersion(answers.text(value, "name"), _order(value.get("order")))


def _order(value: object) -> tuple[int, int]:
    """Return the place of a version, whose date is before the year 6000."""
    first, second = _pair(value)
    if max(first, second) >= 1 << 37:
        raise BadAnswer("the place of a version is too high")
    return first, second


def _pair(value: object) -> tuple[int, int]:
    if not isinstance(value, list) or len(value) != 2:
        raise BadAnswer("a partition or the floor is not a pair of numbers")
    start, size = (answers.number({"number": item}, "number") for item in value)
    return start, size
