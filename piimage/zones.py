"""The time zones that every image knows: those of Debian's tzdata, by name.

The lists are data in appliance/system, so that a name is checked the same on every host: zones.txt
has the names, which a test compares with the package; zone-aliases.txt the old ones, with the zone
that each stands for (the links of Debian's tzdata-legacy).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from piimage import resources


@cache
def zone_names() -> frozenset[str]:
    """Return the names, such as Europe/Berlin."""
    return frozenset(_text("zones.txt").split())


@cache
def old_names() -> Mapping[str, str]:
    """Return the names that zones had once, such as Asia/Calcutta, with those of today."""
    words = iter(_text("zone-aliases.txt").split())
    return dict(zip(words, words, strict=True))


def zone_of(name: str) -> str | None:
    """Return the zone that `name` stands for, by its name of today; None if there is none."""
    return name if name in zone_names() else old_names().get(name)


def _text(name: str) -> str:
    return (resources.path("appliance") / "system" / name).read_text()
