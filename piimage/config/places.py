"""Where the file names an image: for errors that are found after it was read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from piimage.config.document import read_document
from piimage.config.lookup import maps, scalar
from piimage.config.paths import SECTIONS


def image_places(
    files: Sequence[Path], sets: Sequence[str], environment: Mapping[str, str]
) -> Mapping[str, str]:
    """Return ``file:line:column`` of each container's `image:` by ``SECTION.NAME``."""
    document, _ = read_document(files, sets, environment)
    places: dict[str, str] = {}
    for section in SECTIONS:
        for entry in maps(document.root, section):
            if name := scalar(entry, "name"):
                image = entry.items.get("image", entry)
                places.setdefault(f"{section}.{name.text}", str(image.at))
    return places
