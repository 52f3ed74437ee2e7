"""Numbers and UUIDs that follow from what a card holds."""

from __future__ import annotations

import uuid

import pytest

from piimage.card.ids import number, unique_id


@pytest.mark.parametrize("identity", ["a", "b", "a card", "\udcff"])
@pytest.mark.parametrize("name", ["disk", "root"])
def test_a_uuid_says_that_it_is_of_version_8(identity: str, name: str) -> None:
    """RFC 9562, sections 4.1 (variant), 4.2 (version) and 5.8."""
    made = unique_id(identity, name)
    assert (made.version, made.variant) == (8, uuid.RFC_4122)
    assert str(made)[14] == "8"
    assert str(made)[19] in "89ab"


def test_other_cards_and_other_things_have_other_numbers() -> None:
    pairs = [("a", "x"), ("a", "y"), ("b", "x"), ("ab", "x"), ("a", "bx")]
    assert len({number(*pair) for pair in pairs}) == len(pairs)
    assert len({unique_id(*pair) for pair in pairs}) == len(pairs)
    assert all(0 < number(*pair) < 1 << 32 for pair in pairs)


def test_all_bits_but_the_six_of_version_and_variant_follow_from_the_card() -> None:
    seen = [unique_id(str(n), "x").int for n in range(200)]
    ones = [sum(value >> bit & 1 for value in seen) for bit in range(128)]
    fixed = {bit for bit, count in enumerate(ones) if count in (0, len(seen))}
    assert fixed == {62, 63, *range(76, 80)}
