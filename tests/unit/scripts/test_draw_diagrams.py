"""The diagrams of docs/how-it-works.md."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from draw_diagrams import DIAGRAMS

ROOT = Path(__file__).parents[3]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("name", DIAGRAMS)
def test_the_pictures_are_what_the_script_draws(name: str) -> None:
    checked_in = ROOT / "docs" / "images" / name
    assert checked_in.read_text() == DIAGRAMS[name](), "run `make docs`"


@pytest.mark.parametrize("name", DIAGRAMS)
def test_every_text_lies_within_the_picture(name: str) -> None:
    """At most 7.6 pixels a letter: DejaVu Sans, the widest font of the list, in 14 pixels."""
    root = ElementTree.fromstring(DIAGRAMS[name]())
    width, height = int(root.attrib["width"]), int(root.attrib["height"])
    for text in root.iter(f"{SVG}text"):
        half = len(text.text or "") * 7.6 / 2
        middle = float(text.attrib["x"]) + (half if text.attrib["text-anchor"] == "start" else 0)
        assert half < middle < width - half, text.text
        assert 14 < float(text.attrib["y"]) < height - 4, text.text


def test_the_card_has_the_sizes_of_the_boards() -> None:
    """boards/pi4.yml: 16, 512 and 64 MiB; boards/pi3.yml: 1024 and 64 MiB."""
    card = DIAGRAMS["card.svg"]()
    for size in ("FAT, 16 MiB:", "FAT, 512 MiB:", "ext4, 64 MiB,", "FAT, 1024 MiB:"):
        assert size in card
