"""The country codes that the kernel's WiFi regulation accepts.

The list is data in appliance/system/countries.txt: ISO 3166 (iso3166.tab of Debian's tzdata), and
the further codes of the kernel's own rules (wireless-regdb).
"""

from __future__ import annotations

from functools import cache

from piimage import resources


@cache
def country_codes() -> frozenset[str]:
    """Return the codes, such as JP."""
    text = (resources.path("appliance") / "system" / "countries.txt").read_text()
    return frozenset(text.split())
