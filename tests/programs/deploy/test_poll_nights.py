"""Nights of polling: what they write to the card, and what they leave in memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.programs.deploy.ddi_server import ddi_server
from tests.programs.deploy.nights import Writes, call, device, resident


def test_calls_write_nothing_to_the_card_after_the_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A server that fails now and then is part of a night."""
    writes = Writes(tmp_path).watch()
    with ddi_server() as ddi:
        root = device(tmp_path, ddi)
        call(root)
        assert writes.counts["data"] > 0  # the attributes were sent
        writes.counts.clear()
        for number in range(150):
            ddi.fails = [500] if number % 50 == 0 else []
            assert 5 <= call(root) <= 300
            ddi.requests.clear()
    assert writes.counts["data"] == 0
    assert writes.counts["run"] > 0  # the count of failures is in memory
    capsys.readouterr()


def test_calls_leave_nothing_in_memory(tmp_path: Path) -> None:
    with ddi_server() as ddi:
        root = device(tmp_path, ddi)
        for _ in range(60):
            call(root)
        ddi.requests.clear()
        before = resident()
        for _ in range(200):
            call(root)
            ddi.requests.clear()
        assert resident() - before < 1000  # kB
