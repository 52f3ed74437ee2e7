"""How often a property test took each of its ways: one that never gets there asserts nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from hypothesis import settings

# Fewer examples take some ways too seldom to say anything of them.
QUICK = settings(max_examples=100, deadline=None, derandomize=True, database=None)


def at_least(floors: dict[str, int], run: Callable[[Counter[str]], None]) -> None:
    """Run a property, which counts its ways; fails where one was taken too seldom."""
    ways = Counter[str]()
    run(ways)
    seldom = {way: ways[way] for way, floor in floors.items() if ways[way] < floor}
    assert not seldom, f"of {dict(ways)}, wanted at least {floors}"
