"""How many examples a property test tries: all in `make test`, a share of them in `make check`."""

from __future__ import annotations

from hypothesis import settings

SHARE = 4
_LEAST = 10


def examples(number: int) -> int:
    """Return `number`, or a part of it in the profile ``quick``."""
    quick = settings.get_current_profile_name() == "quick"
    return max(number // SHARE, min(number, _LEAST)) if quick else number
