"""Whether a file is one of Compose's."""

from __future__ import annotations

from piimage.document.document import Document
from piimage.document.nodes import MapNode


def is_compose(document: Document) -> bool:
    """Say whether `document` is a Compose file: its services are a mapping by their names."""
    services = document.root.items.get("services")
    if not isinstance(services, MapNode):
        return False
    return any(isinstance(service, MapNode) for service in services.items.values())
