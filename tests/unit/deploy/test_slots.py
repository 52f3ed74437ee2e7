"""What a Pi says of its slots, read with suspicion: it may be anybody's machine."""

from __future__ import annotations

from typing import Any

import pytest

from piimage.deploy.answers import BadAnswer
from piimage.deploy.slots import SlotVersion, state_of

ANSWER: dict[str, Any] = {
    "booted": "2", "other": "3", "kept": "2",
    "partitions": {"1": [1 << 20, 1 << 23]},
    "journal": {"state": "kept", "id": "", "note": "", "cause": ""},
}  # fmt: skip


def test_the_version_of_each_slot_is_read() -> None:
    versions = {"2": {"name": "shed", "order": [3, 1793491200]}, "3": {"partial": True}}
    assert state_of({**ANSWER, "versions": versions}).versions == {
        "2": SlotVersion("shed", (3, 1793491200)),
        "3": SlotVersion("", (0, 0), partial=True),
    }


def test_an_agent_of_an_older_system_knows_no_versions() -> None:
    assert state_of(ANSWER).versions == {}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"journal": "kept"}, "the journal or the partitions are missing"),
        ({"partitions": {str(n): [0, 0] for n in range(5)}}, "the partitions are missing"),
        ({"partitions": {"1": [1]}}, "not a pair of numbers"),
        ({"floor": [0, 1 << 37]}, "the place of a version is too high"),
        ({"versions": ["2"]}, "the versions are no mapping of two slots"),
        ({"versions": {"1": {}, "2": {}, "3": {}}}, "the versions are no mapping of two slots"),
        ({"versions": {"2": "shed"}}, "the version of a slot is no mapping"),
        ({"versions": {"2": {"order": [0, 0]}}}, "name"),
        ({"versions": {"2": {"name": "shed", "order": [0]}}}, "not a pair of numbers"),
        ({"versions": {"2": {"name": "shed", "order": [0, 1 << 37]}}}, "too high"),
    ],
)
def test_an_answer_without_sense_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(BadAnswer, match=message):
        state_of({**ANSWER, **changed})
