"""Where the data that travels with piimage lies: in the wheel, or in a checkout."""

from __future__ import annotations

from pathlib import Path


def path(name: str) -> Path:
    """Return the folder `name` (boards, appliance, services, kernel-modules) that piimage ships."""
    package = Path(__file__).parent
    shipped = package / "data" / name
    return shipped if shipped.is_dir() else package.parent / name
