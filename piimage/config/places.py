"""The places where a file names images, for errors that occur after the file was read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from piimage.config.lookup import maps, scalar
from piimage.config.paths import SECTIONS
from piimage.document.document import read_document


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
