"""The rules for host names: RFC 1123, and the limit of Linux."""

from __future__ import annotations

import re
from typing import Final

PATTERN: Final = r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*"
MOST: Final = 64
"""The most characters of a whole name: HOST_NAME_MAX of Linux (limits.h)."""
MOST_PART: Final = 63
"""The most characters between two dots (RFC 1035, 2.3.4)."""


def fault(name: str) -> tuple[str, str] | None:
    """Return the error in `name`, and what to write instead; None if `name` is valid."""
    longest = max(name.split("."), key=len)
    if len(name) > MOST:
        return (
            f"a host name of {len(name)} characters",
            f"at most {MOST} characters, the limit of Linux",
        )
    if len(longest) > MOST_PART:
        error = f"a host name with a part of {len(longest)} characters"
        return error, f"at most {MOST_PART} characters between dots (RFC 1035)"
    if not re.fullmatch(PATTERN, name, re.ASCII):
        error = f"{name!r} is not a host name"
        return error, "letters, digits and '-' (RFC 1123), such as greenhouse"
    if "." in name and name.rpartition(".")[2].isdigit():
        error = f"{name!r} looks like an IP address"
        return error, "a name whose last part has a letter (RFC 1123, 2.1)"
    return None


def from_words(text: str) -> str | None:
    """Return a host name of one part, in small letters, like `text`; None if nothing remains."""
    name = re.sub(r"[^a-z0-9]+", "-", text.lower())[:MOST_PART].strip("-")
    return name or None
