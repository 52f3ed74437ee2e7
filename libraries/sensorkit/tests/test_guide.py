"""The driver guide's examples run."""

from __future__ import annotations

import doctest
from pathlib import Path

GUIDE = Path(__file__).parents[3] / "docs/drivers.md"


def test_the_guides_examples_give_what_it_says() -> None:
    results = doctest.testfile(str(GUIDE), module_relative=False)
    assert (results.failed, results.attempted > 10) == (0, True)
