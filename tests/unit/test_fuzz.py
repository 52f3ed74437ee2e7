"""The harness of tests/fuzz fits the readers: a few inputs for each, before anybody needs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.__main__ import work
from tests.fuzz.readers import READERS

# Its seeds are lists of files, which only become wheels when they are damaged.
LISTS = {"wheel"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", READERS)
def test_a_reader_takes_or_refuses_a_few_inputs(name: str, tmp_path: Path) -> None:
    outcome = work(name, 200 if name in LISTS else 5, 1, tmp_path)
    assert outcome["failures"] == {}
    assert [*tmp_path.iterdir()] == []
    assert outcome["taken"] or name not in LISTS


@pytest.mark.parametrize("name", sorted(READERS.keys() - LISTS))
def test_a_reader_takes_an_input_that_nothing_has_damaged(name: str, tmp_path: Path) -> None:
    reader = READERS[name]
    taken = 0
    for number, seed in enumerate(reader.seeds()):
        folder = tmp_path / str(number)
        folder.mkdir()
        try:
            reader.read(seed, folder)
            taken += 1
        except reader.raises:
            pass
    assert taken
