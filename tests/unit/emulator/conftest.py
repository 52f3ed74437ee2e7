"""Stand-ins for QEMU."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from piimage.run import Runner
from tests.unit.emulator.stand_in import in_place_of_qemu

Stand = Callable[[str], Runner]


@pytest.fixture
def stand_in(tmp_path: Path) -> Stand:
    """Give a runner that finds a script in QEMU's place."""
    return partial(in_place_of_qemu, tmp_path)
