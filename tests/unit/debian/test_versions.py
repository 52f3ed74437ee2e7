from __future__ import annotations

import random

import pytest
from debian.debian_support import NativeVersion
from hypothesis import given, settings
from hypothesis import strategies as st

from piimage.debian import versions
from tests.examples import examples

ORDERED = [
    "1.0~~", "1.0~~a", "1.0~", "1.0~rc1-1", "1.0-0~bpo1", "1.0", "1.0-1~deb13u1", "1.0-1",
    "1.0-1+b1", "1.0-1+b9", "1.0-1+b10", "1.0-1.1", "1.0a", "1.0+dfsg-1", "1.0.1", "1.10",
    "1:0.1", "2:0~", "10:0",
]  # fmt: skip


def test_versions_sort_by_the_rules_of_the_policy() -> None:
    mixed = random.Random(1).sample(ORDERED, len(ORDERED))
    assert sorted(mixed, key=versions.key) == ORDERED


@pytest.mark.parametrize(("first", "second"), [("1.0", "1.0-0"), ("0:1", "1"), ("1.01", "1.1")])
def test_equal_versions_have_equal_keys(first: str, second: str) -> None:
    assert versions.key(first) == versions.key(second)


VERSIONS = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "0:", "1:"]),
    st.from_regex(r"[0-9][0-9a-zA-Z.+~]{0,6}", fullmatch=True),
    st.one_of(st.just(""), st.from_regex(r"-[0-9a-z.+~]{1,5}", fullmatch=True)),
)


@settings(max_examples=examples(200), deadline=None)
@given(VERSIONS, VERSIONS)
def test_the_order_is_that_of_python_debian(first: str, second: str) -> None:
    ours = (versions.key(first) > versions.key(second)) - (
        versions.key(first) < versions.key(second)
    )
    a, b = NativeVersion(first), NativeVersion(second)
    assert ours == (a > b) - (a < b)


@settings(max_examples=examples(200), deadline=None)
@given(st.text(max_size=12), st.sampled_from("abzA.+1é"))
def test_any_text_has_a_place_in_the_order(text: str, letter: str) -> None:
    """deb-version(7): ~ sorts before the end of a part, which sorts before everything else."""
    whole = text + "x"
    assert versions.key(whole + "~") < versions.key(whole)
    assert versions.key(whole) < versions.key(whole + letter)
