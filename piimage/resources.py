"""The paths of the data that piimage ships: in the wheel, or in a checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Final


def path(name: str) -> Path:
    """Return the folder `name` (boards, services, libraries ...) that piimage ships."""
    package = Path(__file__).parent
    shipped = package / "data" / name
    return shipped if shipped.is_dir() else package.parent / name


BOARDS_VARIABLE: Final = "PIIMAGE_BOARDS"
"""The environment variable that lists further folders of boards, in the form of PATH."""
