"""The data of the mutation run is about code that there is."""

from __future__ import annotations

from tests.mutants.rooms import ROOT, accepted, rooms


def test_every_room_has_code_and_tests() -> None:
    assert all(room.files and room.tests for room in rooms().values())


def test_the_rooms_that_guard_data_and_privilege_are_there() -> None:
    assert rooms().keys() >= {
        *("store", "steps", "trees", "unchanged", "debian", "oci", "card", "firmware", "flash"),
        *("lock", "agent", "drivers", "chipmodels"),
    }


def test_accepted_survivors_have_a_reason_and_their_line_is_in_one_place() -> None:
    """A line that stood twice would let a change live that nobody has judged."""
    faulty = [
        entry
        for entry in accepted()
        if not entry.reason.strip()
        or [line.strip() for line in (ROOT / entry.file).read_text().splitlines()].count(
            entry.before
        )
        != 1
    ]
    assert faulty == []
