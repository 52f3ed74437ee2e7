from __future__ import annotations

from pathlib import Path

import pytest

from piimage.compose.extract import Extracted
from piimage.errors import InputError
from piimage.run import Runner
from piimage.steps import Builder
from piimage.store import Store

from .debs import package

FILES = {"usr/lib/fw/start4.elf": "elf", "usr/lib/fw/other.dat": "o", "usr/share/doc/fw/x": "d"}


def test_the_files_that_match_are_outputs_by_path(store: Store, tmp_path: Path) -> None:
    step = Extracted("firmware", (package(store, tmp_path, "fw", FILES),), ("usr/lib/fw/st*.elf",))
    job = Builder(store, Runner()).build(step)
    assert job.file(step, "usr/lib/fw/start4.elf").read_text() == "elf"
    assert list(job.made[step.key]) == ["usr/lib/fw/start4.elf"]


@pytest.mark.provokes("compose.no-such-file")
def test_a_pattern_that_matches_nothing_is_named(store: Store, tmp_path: Path) -> None:
    step = Extracted("firmware", (package(store, tmp_path, "fw", FILES),), ("usr/lib/fw/s5.elf",))
    with pytest.raises(InputError, match=r"no package of firmware \(fw\) has usr/lib/fw/s5\.elf"):
        Builder(store, Runner()).build(step)
