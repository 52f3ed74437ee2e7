"""What every verb that builds sets up first."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from piimage import events
from piimage.cli import session
from piimage.errors import PiimageError


def opened(file: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[object, list[object]]:
    """Open the project of a card without a lock (which would need the archive)."""
    emitted: list[object] = []
    sources: Any = SimpleNamespace(emit=emitted.append)
    monkeypatch.setattr(session, "open_project", lambda _, appliance, __: appliance.board)
    return session.read_card_project([file], (), sources), emitted


def test_a_card_for_pis_of_which_some_lack_what_it_asks_is_built_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.yml"
    file.write_text("board: zero2w\nnetwork: { country: DE, wifi: { ssid: x } }\n")
    board, emitted = opened(file, monkeypatch)
    assert board == "zero2w"
    (warning,) = emitted
    assert isinstance(warning, events.Warning)
    assert "newer radio" in warning.text


def test_a_card_that_asks_for_what_no_pi_of_its_board_has_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.yml"
    file.write_text("board: pi5\nmodules: [pwm-rp1]\n")
    with pytest.raises(PiimageError) as caught:
        opened(file, monkeypatch)
    assert caught.value.code == "config.lacking"
