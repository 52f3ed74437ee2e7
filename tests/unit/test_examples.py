"""The share of its examples that a property test tries in each profile."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.examples import examples


@pytest.fixture(autouse=True)
def _profile() -> Iterator[None]:
    before = settings.get_current_profile_name()
    yield
    settings.load_profile(before)


def test_the_full_profile_tries_all() -> None:
    settings.load_profile("full")
    assert examples(200) == 200
    assert settings().max_examples == 100


def test_the_quick_profile_tries_a_quarter_and_ten_at_least() -> None:
    settings.load_profile("quick")
    assert [examples(number) for number in (200, 60, 20, 5)] == [50, 15, 10, 5]
    assert settings().max_examples == 25
