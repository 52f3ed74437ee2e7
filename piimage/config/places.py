"""Where the file names an image: for errors that are found after it was read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from piimage.config.paths import SECTIONS
from piimage.document.document import read_document
from piimage.document.nodes import ListNode, MapNode, ScalarNode


def image_places(
    files: Sequence[Path], sets: Sequence[str], environment: Mapping[str, str]
) -> Mapping[str, str]:
    """Return ``file:line:column`` of each container's `image:` by ``SECTION.NAME``."""
    document, _ = read_document(files, sets, environment)
    places: dict[str, str] = {}
    for section in SECTIONS:
        node = document.root.items.get(section)
        for entry in node.items if isinstance(node, ListNode) else ():
            if isinstance(entry, MapNode):
                name, image = entry.items.get("name"), entry.items.get("image", entry)
                if isinstance(name, ScalarNode):
                    places.setdefault(f"{section}.{name.text}", str(image.at))
    return places
