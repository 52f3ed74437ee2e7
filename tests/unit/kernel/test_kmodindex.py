from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piimage.errors import PiimageError
from piimage.kernel.kmodindex import Node, canonical, encode
from tests.examples import examples

HEAD = bytes.fromhex("b007f457 00020001")

# The index {a: x, ab: y} in the two orders of depmod; offsets computed by hand from
# libkmod-index.h: prefix "a", children b..b, one value.
ROOT_FIRST = HEAD + struct.pack(
    ">I 2s BBI II2s II2s",
    0xE000000C, b"a\0", ord("b"), ord("b"), 0x4000001E, 1, 1, b"x\0", 1, 2, b"y\0",
)  # fmt: skip
LEAF_FIRST = HEAD + struct.pack(
    ">I II2s 2s BBI II2s",
    0xE0000016, 1, 2, b"y\0", b"a\0", ord("b"), ord("b"), 0x4000000C, 1, 1, b"x\0",
)  # fmt: skip


def test_both_orders_of_depmod_become_the_same_bytes() -> None:
    assert len(ROOT_FIRST) == len(LEAF_FIRST)
    assert canonical(ROOT_FIRST, "i") == ROOT_FIRST
    assert canonical(LEAF_FIRST, "i") == ROOT_FIRST


nodes = st.recursive(
    st.builds(
        Node,
        st.binary(max_size=3).map(lambda text: text.replace(b"\0", b"_")),
        st.lists(st.tuples(st.integers(0, 9), st.just(b"m")), min_size=1, max_size=2).map(tuple),
        st.just(()),
    ),
    lambda children: st.builds(
        Node,
        st.just(b""),
        st.just(()),
        st.dictionaries(st.integers(1, 127), children, min_size=1, max_size=3).map(
            lambda by_character: tuple(sorted(by_character.items()))
        ),
    ),
    max_leaves=8,
)


@settings(max_examples=examples(60))
@given(nodes)
def test_a_canonical_index_is_not_changed(root: Node) -> None:
    data = encode(root)
    assert canonical(data, "i") == data


@pytest.mark.provokes("kernel.bad-index")
@pytest.mark.parametrize(
    "data",
    [HEAD, b"\0" * 40, ROOT_FIRST[:-1], HEAD + b"\x20\0\0\x0cbb\x20\0\0\x0c"],
    ids=["no root", "another file", "truncated", "a loop"],
)
def test_an_invalid_index_is_refused(data: bytes) -> None:
    with pytest.raises(PiimageError) as caught:
        canonical(data, "modules.dep.bin")
    assert caught.value.code == "kernel.bad-index"


@settings(max_examples=examples(100))
@given(st.binary(max_size=60))
def test_any_bytes_are_an_index_or_an_error(tail: bytes) -> None:
    try:
        assert len(canonical(HEAD + tail, "i")) >= len(HEAD)
    except PiimageError as error:
        assert error.code == "kernel.bad-index"
