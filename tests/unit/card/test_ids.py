"""Numbers and UUIDs derived from the content of a card."""

from __future__ import annotations

import uuid

import pytest

from piimage.card.ids import number, unique_id


@pytest.mark.parametrize("identity", ["a", "b", "a card", "\udcff"])
@pytest.mark.parametrize("name", ["disk", "root"])
def test_a_uuid_has_version_8(identity: str, name: str) -> None:
    """RFC 9562, sections 4.1 (variant), 4.2 (version) and 5.8."""
    unique = unique_id(identity, name)
    assert (unique.version, unique.variant) == (8, uuid.RFC_4122)
    assert str(unique)[14] == "8"
    assert str(unique)[19] in "89ab"


def test_different_cards_and_names_have_different_numbers() -> None:
    pairs = [("a", "x"), ("a", "y"), ("b", "x"), ("ab", "x"), ("a", "bx")]
    assert len({number(*pair) for pair in pairs}) == len(pairs)
    assert len({unique_id(*pair) for pair in pairs}) == len(pairs)
    assert all(0 < number(*pair) < 1 << 32 for pair in pairs)


def test_all_bits_but_the_six_of_version_and_variant_depend_on_the_card() -> None:
    values = [unique_id(str(n), "x").int for n in range(200)]
    ones = [sum(value >> bit & 1 for value in values) for bit in range(128)]
    fixed = {bit for bit, count in enumerate(ones) if count in (0, len(values))}
    assert fixed == {62, 63, *range(76, 80)}


def test_numbers_are_the_first_bytes_of_a_digest() -> None:
    """`printf 'a card\\0disk' | sha256sum`; version and variant by RFC 9562."""
    assert number("a card", "disk") == 0x4EEBE53C
    assert str(unique_id("a card", "disk")) == "4eebe53c-3f38-8ba3-8e8a-3b4b41180f9d"


def test_no_number_is_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("piimage.card.ids._derived", lambda *_: bytes(32))
    assert number("a", "b") == 1
