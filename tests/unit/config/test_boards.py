"""Boards of the user's own, beside the file."""

from __future__ import annotations

from pathlib import Path

from piimage import resources
from piimage.config.load import load


def test_a_board_that_lies_beside_the_file_is_known(tmp_path: Path) -> None:
    (tmp_path / "boards").mkdir()
    own = resources.path("boards") / "pi4.yml"
    (tmp_path / "boards" / "greenhouse.yml").write_bytes(own.read_bytes())
    file = tmp_path / "a.yml"
    file.write_text("board: greenhouse\nboot: { overlays: [i2c1, -disable-bt] }\n")
    read = load([file])
    assert read.board == "greenhouse"
    assert read.boot.overlays == ("i2c1", "-disable-bt")
