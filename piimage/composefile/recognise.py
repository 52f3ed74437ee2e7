"""Recognises Compose files."""

from __future__ import annotations

from piimage.document.document import Document
from piimage.document.nodes import MapNode


def is_compose(document: Document) -> bool:
    """Return whether `document` is a Compose file: its `services:` maps names to services."""
    services = document.root.items.get("services")
    if not isinstance(services, MapNode):
        return False
    return any(isinstance(service, MapNode) for service in services.items.values())
