"""The bombs that take seconds (see the unit tests for the others)."""

from __future__ import annotations

from tests.programs.test_bombs import MOST, measure
from tests.unit.bombs import SLOW


def test_layers_with_as_many_entries_as_may_be_take_little_memory() -> None:
    found = measure(sorted(SLOW))
    assert {name: code for name, (code, _) in found.items()} == {
        "a layer with too many entries": "trees.too-many",
        "a layer with as many entries as may be": "none",
    }
    assert max(size for _, size in found.values()) < MOST
