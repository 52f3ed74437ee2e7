"""The time zones that every image knows: those of Debian's tzdata, by name.

The list is data in appliance/system/zones.txt, so that a name is checked the same on every host; a
test compares it with the package.
"""

from __future__ import annotations

from functools import cache

from piimage import resources


@cache
def zone_names() -> frozenset[str]:
    """Return the names, such as Europe/Berlin."""
    text = (resources.path("appliance") / "system" / "zones.txt").read_text()
    return frozenset(text.split())
