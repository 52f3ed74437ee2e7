"""The rules for host names: RFC 1123 and the limits of Linux."""

from __future__ import annotations

import re
from typing import Final

PATTERN: Final = r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*"
MOST: Final = 64
"""The most characters of a host name: HOST_NAME_MAX of Linux (limits.h)."""
MOST_PART: Final = 63
"""The most characters between two dots (RFC 1035, 2.3.4)."""


def fault(name: str) -> tuple[str, str] | None:
    """Return the cause why `name` is invalid and what to write instead; None if it is valid."""
    longest = max(name.split("."), key=len)
    if len(name) > MOST:
        return (
            f"the host name has {len(name)} characters",
            f"at most {MOST} characters, the limit of Linux",
        )
    if len(longest) > MOST_PART:
        what = f"the host name has a part of {len(longest)} characters"
        return what, f"at most {MOST_PART} characters between dots (RFC 1035)"
    if not re.fullmatch(PATTERN, name, re.ASCII):
        shown = repr(name)
        return (
            f"{shown} is not a valid host name",
            "letters, digits and '-' (RFC 1123), such as greenhouse",
        )
    if "." in name and name.rpartition(".")[2].isdigit():
        what = f"{name!r} would be read as an IP address"
        return what, "a name whose last part has a letter (RFC 1123, 2.1)"
    return None
