"""The names of the time zones that every image has: those of Debian's tzdata.

The lists are data in appliance/system, so that every host accepts the same names. zones.txt has the
current names, which a test compares with the package. zone-aliases.txt has the old names, each with
its current one (the links of Debian's tzdata-legacy).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from piimage import resources


@cache
def zone_names() -> frozenset[str]:
    """Return the current names, such as Europe/Berlin."""
    return frozenset(_text("zones.txt").split())


@cache
def old_names() -> Mapping[str, str]:
    """Return the current names by the old ones, such as Asia/Kolkata by Asia/Calcutta."""
    words = iter(_text("zone-aliases.txt").split())
    return dict(zip(words, words, strict=True))


def zone_of(name: str) -> str | None:
    """Return the current name of the zone `name`, or None if there is no such zone."""
    return name if name in zone_names() else old_names().get(name)


def _text(name: str) -> str:
    return (resources.path("appliance") / "system" / name).read_text()
