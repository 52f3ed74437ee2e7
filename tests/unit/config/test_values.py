"""Values of the YAML at their limits (docs/reference/yaml.md)."""

from __future__ import annotations

import pytest

from piimage.config.values import Backoff, parse_backoff


@pytest.mark.parametrize(
    ("text", "least", "most"), [("1s..1s", 1, 1), ("1s..60s", 1, 60), ("2m..1h", 120, 3600)]
)
def test_a_restart_waits_from_the_first_duration_to_the_last(
    text: str, least: int, most: int
) -> None:
    assert parse_backoff(text) == Backoff(least, most)
