"""A power cut in the middle of a deploy; the module `powercut` makes as many as asked."""

from __future__ import annotations

import random
from pathlib import Path

from tests.system.deploy.greenhouse import Greenhouse
from tests.system.deploy.powercut import cuts

COUNT = 1


def test_every_boot_after_a_cut_is_whole(tmp_path: Path, piimage_store: Path) -> None:
    greenhouse = Greenhouse.laid_out(tmp_path / "greenhouse", piimage_store)
    found = list(cuts(greenhouse, tmp_path, COUNT, random.Random(1)))
    assert [cut.runs in ("old", "new") for cut in found] == [True] * COUNT
