"""Header lists, by the examples of RFC 7541, Appendix C."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from piimage_task.hpack import HeaderError, decode

STATUS = bytes.fromhex("00 88 9acac8b21234da8f 01 35")
"""Literal, not indexed; the name has Huffman codes: grpc-status: 5."""


def test_a_literal_whose_name_has_huffman_codes() -> None:
    assert decode(STATUS) == {"grpc-status": "5"}


@pytest.mark.parametrize(
    ("block", "headers"),
    [
        # C.2.1: a literal with indexing
        ("400a637573746f6d2d6b65790d637573746f6d2d686561646572", {"custom-key": "custom-header"}),
        # C.2.2: its name is in the static table
        ("040c2f73616d706c652f70617468", {}),
        # C.2.3: never indexed
        ("100870617373776f726406736563726574", {"password": "secret"}),
        # C.2.4: an entry of the static table
        ("82", {}),
        # C.4.3, with Huffman codes: custom-key: custom-value, behind four static entries
        (
            "828785408825a849e95ba97d7f8925a849e95bb8e8b4bf",
            {"custom-key": "custom-value"},
        ),
        # 6.3: the dynamic table has no room
        ("20", {}),
    ],
)
def test_the_examples_of_the_standard(block: str, headers: dict[str, str]) -> None:
    assert decode(bytes.fromhex(block)) == headers


def test_a_length_of_several_bytes() -> None:
    """RFC 7541, section 5.1: 127 and 73 more."""
    text = "x" * 200
    block = b"\0" + bytes([1]) + b"n" + bytes([0x7F, 73]) + text.encode()
    assert decode(block) == {"n": text}


@pytest.mark.parametrize("block", ["be", "80", "0003616263", "00", "7fffffffff7f"])
def test_what_does_not_follow_the_standard_is_refused(block: str) -> None:
    with pytest.raises((HeaderError, IndexError)):
        decode(bytes.fromhex(block))


@given(st.binary(max_size=60))
def test_foreign_bytes_end_in_headers_or_an_error(block: bytes) -> None:
    with contextlib.suppress(
        ValueError, IndexError
    ):  # HeaderError and UnicodeDecodeError among them
        decode(block)
