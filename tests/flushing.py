"""For tests of single modules and programs: their files do not wait for the disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest


@pytest.fixture(scope="session", autouse=True)
def no_wait_for_the_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Leave out the flush of files in the tests' own folder: no test cuts the power.

    It would be half of the time of all tests. Files elsewhere, such as those of cards that fail,
    are flushed. Which files are flushed and when is what `durability.py` records.
    """
    ours = tmp_path_factory.getbasetemp().stat().st_dev
    with pytest.MonkeyPatch.context() as patch:
        for name in ("fsync", "fdatasync"):
            patch.setattr(os, name, _elsewhere(getattr(os, name), ours))
        yield


def _elsewhere(flush: Callable[[Any], None], ours: int) -> Callable[[Any], None]:
    def flushed(file: Any) -> None:
        number = file if isinstance(file, int) else file.fileno()
        if os.fstat(number).st_dev != ours:
            flush(file)

    return flushed
