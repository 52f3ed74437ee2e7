"""Protocol buffers, by the examples of their encoding guide."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from piimage_task.protobuf import integer, integers, message, text


def test_a_number_and_a_string_as_the_guide_shows_them() -> None:
    assert integer(1, 150) == bytes.fromhex("089601")
    assert text(2, "testing") == bytes.fromhex("120774657374696e67")
    assert message(3, integer(1, 150)) == bytes.fromhex("1a03089601")


def test_a_field_with_a_number_above_15_has_a_key_of_two_bytes() -> None:
    assert integer(16, 1) == bytes.fromhex("800101")


def test_the_numbers_of_a_message_are_found_among_other_fields() -> None:
    fixed = bytes.fromhex("39 0102030405060708 45 01020304")
    assert integers(text(1, "name") + fixed + integer(2, 300) + integer(2, 301)) == {2: 301}


@pytest.mark.parametrize("data", ["08", "0b", "08ffffffffffffffffffff01"])
def test_a_message_that_ends_too_soon_or_has_another_form_is_refused(data: str) -> None:
    with pytest.raises((IndexError, ValueError)):
        integers(bytes.fromhex(data))


@given(st.integers(1, 2**29 - 1), st.integers(0, 2**64 - 1))
def test_every_number_comes_back(field: int, value: int) -> None:
    assert integers(integer(field, value)) == {field: value}


@given(st.binary(max_size=40))
def test_foreign_bytes_end_in_numbers_or_an_error(data: bytes) -> None:
    with contextlib.suppress(ValueError, IndexError):
        integers(data)
