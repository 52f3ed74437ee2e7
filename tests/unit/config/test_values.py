"""Values of the YAML at their limits (docs/reference/yaml.md)."""

from __future__ import annotations

import pytest

from piimage.config.values import Backoff, did_you_mean, parse_backoff


@pytest.mark.parametrize(
    ("text", "least", "most"), [("1s..1s", 1, 1), ("1s..60s", 1, 60), ("2m..1h", 120, 3600)]
)
def test_a_restart_waits_from_the_first_duration_to_the_last(
    text: str, least: int, most: int
) -> None:
    assert parse_backoff(text) == Backoff(least, most)


def test_a_hint_names_what_is_similar_else_all_and_says_if_there_is_none() -> None:
    assert did_you_mean("dhcpp", ["dhcp", "ntp"]) == "dhcp"
    assert did_you_mean("zzz", ["ntp", "dhcp"]) == "one of dhcp, ntp"
    assert did_you_mean("zzz", []) == "leave it out, because there is none"
