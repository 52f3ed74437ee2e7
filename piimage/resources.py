"""Where the data that travels with piimage lies: in the wheel, or in a checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Final


def path(name: str) -> Path:
    """Return the folder `name` (boards, services, libraries ...) that piimage ships."""
    package = Path(__file__).parent
    shipped = package / "data" / name
    return shipped if shipped.is_dir() else package.parent / name


BOARDS_VARIABLE: Final = "PIIMAGE_BOARDS"
"""The environment's variable with further folders of boards, as PATH has folders of programs."""
